import logging

import pytest
import torch

from counterpoint.checkpoint import Checkpoint, fingerprint

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path))
    return Checkpoint("abc")


def test_a_state_comes_back_and_goes_when_removed(checkpoint, tmp_path):
    assert checkpoint.load(CPU) is None
    checkpoint.save({"weights": {"w": torch.arange(3)}, "epochs": [{"loss": None, "epoch": 0}]})
    state = checkpoint.load(CPU)
    assert torch.equal(state["weights"]["w"], torch.arange(3))
    assert state["epochs"] == [{"loss": None, "epoch": 0}]
    assert [path.name for path in (tmp_path / "abc").iterdir()] == ["state.pt"]
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04 torn"])
def test_a_torn_one_is_ignored_with_a_line(checkpoint, caplog, content):
    checkpoint.save({"a": torch.zeros(1000)})
    checkpoint.file.write_bytes(content or checkpoint.file.read_bytes()[:500])
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load(CPU) is None
    assert "is ignored" in caplog.text


def test_code_in_a_checkpoint_is_not_run(checkpoint, tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    checkpoint.directory.mkdir(parents=True)
    torch.save({"a": Bad()}, checkpoint.file)
    assert checkpoint.load(CPU) is None
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_changes_with_facts_and_code(tmp_path, monkeypatch):
    (tmp_path / "noun_for_this_test.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import noun_for_this_test  # noqa: F401

    first = fingerprint(tmp_path, {"decay": 0.1, "seed": 1})
    assert first == fingerprint(tmp_path, {"seed": 1, "decay": 0.1})
    assert first != fingerprint(tmp_path, {"decay": 0.2, "seed": 1})
    (tmp_path / "noun_for_this_test.py").write_text("x = 2\n")
    assert first != fingerprint(tmp_path, {"decay": 0.1, "seed": 1})
