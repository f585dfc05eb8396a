"""dvc.yaml says what stages do: deps are the rooms they open, params the keys they read, and their plots have data."""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from conftest import (
    EVERY_PART,
    ROOT,
    command,
    fixture_params,
    independent_pairs,
    no_negatives,
    outputs,
    restore,
    succeed,
    write_arguana,
)
from counterpoint.core import params as params_module
from counterpoint.core.params import Params
from counterpoint.evaluation.table import read_table

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PLOTS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]


def leaves(section: type[BaseModel], prefix: str = "") -> set[str]:
    names = set()
    for name, field in section.model_fields.items():
        nested = field.annotation
        is_section = isinstance(nested, type) and issubclass(nested, BaseModel)
        names |= leaves(nested, f"{prefix}{name}.") if is_section else {prefix + name}
    return names


def sections(section: type[BaseModel], prefix: str = ""):
    """Every section's class, with what stands before its keys."""
    yield section, prefix
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation, f"{prefix}{name}.")


def declared(verb: str) -> set[str]:
    keys = STAGES[verb]["params"]
    return {leaf for leaf in leaves(Params) for key in keys if leaf == key or leaf.startswith(f"{key}.")}


@pytest.fixture
def keys_read(monkeypatch):
    """The keys read from params once they are loaded; a section that is dumped is read whole."""
    read = set()
    for section, prefix in sections(Params):

        def watch(self, name, original=section.__getattribute__, prefix=prefix):
            read.add(prefix + name)
            return original(self, name)

        def dump(self, *, original=section.model_dump, section=section, prefix=prefix, **how):
            names, left_out = how.get("include"), how.get("exclude") or ()
            keys = {key: key.removeprefix(prefix).partition(".")[0] for key in leaves(section, prefix)}
            read.update(key for key, name in keys.items() if name not in left_out and (names is None or name in names))
            return original(self, **how)

        monkeypatch.setattr(section, "__getattribute__", watch)
        monkeypatch.setattr(section, "model_dump", dump)
    load = params_module.load_params

    def loaded(*args):
        params = load(*args)
        read.clear()
        return params

    monkeypatch.setattr(params_module, "load_params", loaded)
    return lambda: {key for key in read if key in leaves(Params)}


@pytest.mark.slow
def test_the_params_of_a_stage_are_the_keys_it_reads(keys_read, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    write_arguana(tmp_path / "arguana")
    no_negatives(tmp_path)
    write_pairs(tmp_path / "pairs.csv")
    for corpus in ("pairs.csv", "arguana"):  # the first has no splits of its own
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, corpus=corpus, train__epochs=1)))
        read = {}
        for verb in STAGES:
            monkeypatch.delitem(sys.modules, verb, raising=False)
            importlib.import_module(verb).main()
            read[verb] = keys_read()
        if corpus == "pairs.csv":
            assert {verb: keys ^ declared(verb) for verb, keys in read.items()} == {verb: set() for verb in STAGES}
        assert all(keys <= declared(verb) for verb, keys in read.items())


@pytest.mark.slow
def test_rank_reads_the_hidden_states_of_train_and_ranks_as_the_selection_scored(tiny_bert, tmp_path, monkeypatch):
    """Counterless points, which BEIR's protocol searches, are among the texts whose hidden states are cached."""
    monkeypatch.chdir(tmp_path)
    for name in ("CHECKPOINT_DIR", "STATES_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    write_arguana(tmp_path / "arguana")
    no_negatives(tmp_path)
    changes = EVERY_PART | {"corpus": "arguana", "evaluate__beir": True, "select__queries": "all"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, **changes)))
    for verb in ("prepare", "train", "lexical", "rerank", "rank"):
        monkeypatch.delitem(sys.modules, verb, raising=False)
        importlib.import_module(verb).main()
        if verb == "train":
            (states,) = (tmp_path / "STATES_DIR").glob("*.bin")
            monkeypatch.setattr("counterpoint.model.hidden_states._File._compute", None)
    assert list((tmp_path / "STATES_DIR").glob("*.bin")) == [states]
    ranks = read_table(Path("data/ranks/validation.csv"))
    rows = ranks[(ranks["answers"] == "text") & (ranks["setting"] == "epa") & (ranks["stage"] == "retrieved")]
    assert (rows["rank"] == 1).mean() == pytest.approx(json.loads(Path("metrics/train.json").read_text())["selection_score"])


def write_pairs(file: Path) -> None:
    lines = [",".join(pair) for pair in independent_pairs()]
    file.write_text("\n".join(["point,counter", *lines]) + "\n")


def test_the_plots_have_at_most_three_lines_and_the_pictures_are_listed():
    assert [plot for plot in PLOTS if isinstance(plot, str)] == ["plots/pictures"]
    assert "plots/pictures" in STAGES["plot"]["outs"]
    for plot in PLOTS:
        if isinstance(plot, dict):
            ((name, spec),) = plot.items()
            ((file, columns),) = spec["y"].items()
            assert len(columns) <= 3, name
            metrics = {next(iter(metric)) for stage in STAGES.values() for metric in stage.get("metrics", [])}
            assert file in metrics


def test_nothing_turns_the_run_cache_off():
    for stage in STAGES.values():
        assert all(isinstance(out, str) for out in stage.get("outs", []))  # no cache: false, no persist
        assert all(list(metric.values()) == [{"cache": False}] for metric in stage.get("metrics", []))


# --- with DVC --------------------------------------------------------------------------------------------------------


@pytest.mark.dvc
def test_a_second_repro_runs_nothing(repository):
    printed = succeed(repository, "dvc", "repro")
    assert "Running stage" not in printed
    assert succeed(repository, "git", "status", "--short") == ""


@pytest.mark.dvc
def test_every_plot_has_data_in_every_revision(repository):
    printed = succeed(repository, "dvc", "plots", "diff", "HEAD", "slow", "constant", "--json")
    plots = json.loads(printed)["data"]
    names = {next(iter(plot)) for plot in PLOTS if isinstance(plot, dict)}
    pictures = {f"plots/pictures/{file.name}" for file in (repository / "plots/pictures").iterdir()}
    assert len(pictures) == 7
    assert {name.removeprefix("dvc.yaml::") for name in plots} == names | pictures
    for name, entries in plots.items():
        revisions = {revision for entry in entries for revision in entry["revisions"]}
        assert revisions == {"HEAD", "slow", "constant"}, name


@pytest.mark.dvc
def test_an_experiment_has_the_rates_of_its_decay(repository):
    for name, rates in (("HEAD", [1.0, 0.6, 0.2]), ("slow", [1.0, 0.995, 0.99]), ("constant", [1.0, 1.0, 1.0])):
        history = json.loads(succeed(repository, "git", "show", f"{revision(repository, name)}:plots/series/history.json"))
        assert [row["random_rate"] for row in history["epochs"]] == rates


def revision(repository: Path, name: str) -> str:
    if name == "HEAD":
        return name
    return next(line.split()[0] for line in succeed(repository, "git", "show-ref").splitlines() if line.endswith(f"/{name}"))


@pytest.mark.dvc
def test_metrics_diff_and_exp_show_read_well(repository):
    diff = succeed(repository, "dvc", "metrics", "diff", "HEAD", "slow", "--md")
    assert "hardness" in diff
    table = succeed(repository, "dvc", "exp", "show", "--csv", "--drop", "(data|src|plots|metrics)/.*|models|.*_seconds")
    header = table.splitlines()[0].split(",")
    assert {"Experiment", "epa.retrieved.top1", "decay"} <= {name.split(":")[-1] for name in header}
    assert any("slow" in line for line in table.splitlines())


@pytest.mark.dvc
def test_going_back_comes_from_the_cache(repository):
    params = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(params.replace("decay: 0.4", "decay: 0.005"))
    assert "Running stage" not in succeed(repository, "dvc", "repro")
    history = json.loads((repository / "plots/series/history.json").read_text())
    assert history["epochs"][1]["random_rate"] == 0.995
    restore(repository)
    assert succeed(repository, "git", "status", "--short") == ""


@pytest.mark.dvc
def test_after_a_failed_run_one_line_brings_the_old_results_back(repository):
    before = outputs(repository)
    failed = command(repository, "dvc", "exp", "run", "-S", "decay=abc")
    assert failed.returncode != 0
    assert "params.yaml: decay must be a number, or none; got 'abc'" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    restore(repository)
    assert outputs(repository) == before
    assert succeed(repository, "git", "status", "--short") == ""


@pytest.mark.dvc
def test_make_s_check_refuses_before_anything_is_touched(repository):
    for line, key, says in (
        ("decay: 0.4", "decay: abc", "decay must be"),
        ("corpus: data/fixture", "corpus: gone", "gone does not exist"),
    ):
        before = {path: (repository / path).stat().st_mtime_ns for path in outputs(repository)}
        params = (repository / "params.yaml").read_text()
        (repository / "params.yaml").write_text(params.replace(line, key))
        refused = command(repository, "python", "src/check.py")
        assert refused.returncode == 1
        assert says in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert {path: (repository / path).stat().st_mtime_ns for path in outputs(repository)} == before
        (repository / "params.yaml").write_text(params)
    told = succeed(repository, "python", "src/check.py")
    assert "25 training, 8 validation, 8 test points" in told
    assert "training: 16 queries; with Perspectrum's 463, a model.freeze of 4 was no worse, and faster" in told
    assert "validation: 8 queries choose the weights: top1 is ±0.35; a smaller gain may be luck" in told


@pytest.mark.dvc
def test_the_corpus_param_pulls_the_fetch_stage_in(repository, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "arguana"), "zip", write_arguana(tmp_path / "arguana"))
    target = "corpus=data/arguana/arguana-counterargs-corpus.zip"
    refused = command(repository, "dvc", "repro", "data/arguana/dvc.yaml")
    assert refused.returncode != 0
    assert "fetch.url must be the address of the corpus zip" in refused.stderr + refused.stdout
    offline = command(repository, "dvc", "exp", "run", "-S", target, "-S", "fetch.url=http://127.0.0.1:9/x.zip")
    assert offline.returncode != 0
    assert re.search(r"^error: fetch.url: http://127.0.0.1:9/x.zip cannot be fetched \(", offline.stdout + offline.stderr, re.M)
    restore(repository)
    succeed(repository, "dvc", "exp", "run", "-n", "fetched", "-S", target, "-S", f"fetch.url={Path(archive).as_uri()}")
    assert json.loads((repository / "metrics/prepare.json").read_text())["splits"][0]["pairs"] == 24
    restore(repository)
    succeed(repository, "git", "clean", "-dfqx", "data/arguana")  # the zip and its lock: the next test's start
    assert "Running stage" not in succeed(repository, "dvc", "repro")
