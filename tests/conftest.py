"""A tiny world: a corpus in ArguAna's layout and a BERT of random weights, both made on the spot."""

import copy
import functools
import gc
import importlib
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock

gc.disable()  # while modules are imported, as in a stage
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test needs the network
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is: tiny models gain nothing by more, and suffer from what else runs
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits leaves its core to the other workers

ROOT = Path(__file__).parent.parent
WARM = Path(__file__).with_name("warm.py")
THEMES = {
    "animals": {"cats": "cat purr whisker mouse milk", "dogs": "dog bark leash bone walk", "birds": "bird wing nest egg song"},
    "food": {
        "bread": "bread crust flour oven yeast",
        "fruit": "apple pear peel juice seed",
        "soup": "soup broth spoon bowl salt",
    },
}
COMMON = [
    "the",
    "a",
    "of",
    "to",
    "is",
    "not",
    "good",
    "bad",
    "more",
    "less",
    "we",
    "should",
    "must",
    "because",
    "people",
    "think",
]
SPLIT_OF = ("training", "validation", "test")  # a theme's first, second and third debate; training also has a second one
WORDS = sorted({*COMMON, *(word for debates in THEMES.values() for words in debates.values() for word in words.split())})


def no_negatives(folder: Path) -> None:
    """Write the default of negatives.file."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/no_negatives.jsonl").touch()


def usable(corpus: Path, split: str) -> list:
    """The pairs of a split of a corpus that names its splits."""
    from counterpoint.corpus.splits import read_splits

    return list(read_splits(corpus, None).triples.pairs[split])


def independent_pairs(n: int = 30) -> list[tuple[str, str]]:
    """Points and counters of which no two share a text, nor, to the tiny BERT, their tokens."""
    return [(f"cat {a} {b} purr", f"dog {b} {a} bark") for a, b in list(itertools.combinations(COMMON, 2))[:n]]


def sentence(rng: np.random.Generator, words: list[str], length: int = 12) -> str:
    return " ".join(rng.choice(words + COMMON, length))


def write_arguana(root: Path) -> Path:
    """24 usable pairs of training, 8 of validation and 8 of test, and every oddity of the real corpus:

    files to ignore; a counterless point; a debate without points; a debate filed under two themes, so that its texts are
    twins; a pair of test that stands in training; a twin of a true counter in the same split.
    """
    rng = np.random.default_rng(7)

    def debate(split: str, theme: str, name: str, words: list[str]) -> Path:
        folder = root / "02-extracted-arguments" / split / theme / name
        for stance in ("pro", "con"):
            (folder / stance).mkdir(parents=True)
            for number in (1, 2):
                (folder / stance / f"{stance}{number:02}a-point.txt").write_text(sentence(rng, words))
                (folder / stance / f"{stance}{number:02}b-counter.txt").write_text(sentence(rng, words))
        (folder / "metadata.txt").write_text("url\tnowhere\n")
        return folder

    for theme, debates in THEMES.items():
        for (name, words), split in zip(debates.items(), SPLIT_OF, strict=True):
            folder = debate(split, theme, name, words.split())
            if split == "training":
                debate("training", theme, f"more-{name}", words.split())
                shutil.copytree(folder, folder.parent.parent / "both" / name)  # twins
    extracted = root / "02-extracted-arguments"
    (extracted / "training" / "animals" / ".DS_Store").write_bytes(b"\0\1\2")
    (extracted / "training" / "animals" / "cats" / "pro" / "._pro01a-point.txt").write_bytes(b"\0\5")
    (extracted / "training" / "food" / "bread" / "con" / "con03a-point.txt").write_text(sentence(rng, ["bread"]))  # counterless
    (extracted / "training" / "food" / "tea").mkdir()
    (extracted / "training" / "food" / "tea" / "metadata.txt").write_text("url\tnowhere\n")  # a debate without points
    test, training = extracted / "test", extracted / "training"
    for kind in ("a-point", "b-counter"):  # leaked, and written a little differently
        text = (training / "animals" / "cats" / "pro" / f"pro01{kind}.txt").read_text()
        (test / "animals" / "birds" / "pro" / f"pro01{kind}.txt").write_text(f"  {text.upper()}\n\n")
    counter = (test / "food" / "soup" / "pro" / "pro01b-counter.txt").read_text()
    (test / "food" / "soup" / "con" / "con02b-counter.txt").write_text(counter.capitalize())
    return root


def bm25_score(
    query: list[str], document: list[str], documents: list[list[str]], k1: float = 0.9, b: float = 0.4, counted: bool = False
) -> float:
    """BM25 by its formula: idf ln(1 + (N - df + 1/2) / (df + 1/2)); each distinct word of the query once, or as it counts."""
    average = sum(map(len, documents)) / len(documents)
    counts, score = Counter(document), 0.0
    for word, asked in Counter(query).items():
        if word in counts:
            df = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            share = counts[word] * (k1 + 1) / (counts[word] + k1 * (1 - b + b * len(document) / average))
            score += (asked if counted else 1) * idf * share
    return score


def write_bert(directory: Path) -> Path:
    """A BERT of 2 layers and width 32 with random weights, in Hugging Face format."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    directory.mkdir(parents=True)
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(directory / "vocab.txt"))
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(directory)
    return directory


# The tiny world's params.yaml: what a user writes into the repository's own changes no test. Keys that are not here, new ones,
# have the values that they have there; new losses are off. DVC writes the weight decay as 3e-05, which YAML reads as a string.
FIXTURE_PARAMS = """
seed: 13
corpus: data/fixture
random_rate: 1.0
decay: 0.4
floor: 0.0
schedule: linear
prepare:
  seed: 13
  split: {training: 0.6, validation: 0.2, test: 0.2}
negatives: {search: exact, per_point: 1, window: [1, 1], margin: none}
model:
  {encoder: tiny, pooling: mean, projection: 8, normalize: true, fusion: concat, sharing: shared,
   freeze: none, dropout: 0.1, attention_dropout: 0.0, max_length: 32}
loss:
  triplet: {weight: 1.0, margin: 0.5}
  pair: {weight: 1.0}
train:
  {epochs: 3, batch_size: 8, batching: shuffled, learning_rate: 0.001, head_learning_rate: none, warmup: 0.1, cooldown: 0.0,
   gradient_cache: false, weight_decay: 0.00003, precision: fp32, device: cpu}
select: {setting: epa, queries: auto, average: none}
retrieve: {lexical: 0.01}
rerank:
  {kind: joint, depth: 8, negatives: 2, decay: 2.0, freeze: 1, epochs: 6, batch_size: 8, learning_rate: 0.01,
   head_learning_rate: none}
evaluate: {rerank_depth: none, beir: false}
fetch: {url: none, sha256: none}
"""


EVERY_PART = {  # all that decides what is drawn, learnt or kept, on
    "schedule": "cosine", "decay": 0.3, "negatives__per_point": 2, "negatives__window": [1, 4], "negatives__margin": 0.05,
    "model__sharing": "projection", "model__freeze": 1, "model__attention_dropout": 0.1,
    "loss__contrastive__weight": 0.7, "train__batching": "neighbours", "train__gradient_cache": True,
    "loss__contrastive__directions": "both", "select__average": "greedy",
}  # fmt: skip


@functools.cache
def unchanged() -> dict:
    own, fixture = yaml.safe_load((ROOT / "params.yaml").read_text()), yaml.safe_load(FIXTURE_PARAMS)
    values = merged(own, fixture)
    for name in own["loss"].keys() - fixture["loss"].keys():
        values["loss"][name]["weight"] = 0
    return values


def fixture_params(encoder: Path | str = "tiny", **changes) -> dict:
    """The values of the tiny world's params.yaml; changes are keys with __ for the dots."""
    values = copy.deepcopy(unchanged())
    values["model"]["encoder"] = str(encoder)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = values
        for part in sections:
            section = section[part]
        assert key in section, name
        section[key] = value
    return values


def merged(below: dict, above: dict) -> dict:
    """All keys of both; where both have one, the value is above's."""
    both = {name: merged(below[name], above[name]) for name in above if isinstance(below.get(name), dict)}
    return below | above | both


@functools.cache
def warm() -> str:
    """A folder with a `python` and a `dvc` that start in a fork of a process that has done their imports already.

    `python` does so for scripts of src/ and tests/, and for `-m dvc`. All test workers share that process, which ends
    with the first of them's parent, or with this process where there is one alone. Where LAUNCHER starts a stage, it is a
    user's python; where KILL_PARENT is set, dvc is a user's.
    """
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if session is None:
        return str(_serve(Path(tempfile.mkdtemp()) / "warm", os.getpid()))
    return str(once(Path(tempfile.gettempdir()) / f"warm-{session}", lambda place: _serve(place, os.getppid())))


def _serve(folder: Path, until: int) -> Path:
    """Start the process behind `warm`, which ends with the process `until`, and takes the folder along."""
    folder.mkdir()
    socket = folder.with_name(f"{folder.name.removesuffix('-unfinished')}.socket")
    words = [sys.executable, str(WARM), "--serve", str(socket), str(until)]
    os.posix_spawn(sys.executable, words, os.environ, setpgroup=0)  # it outlives this worker: a lost Popen would warn
    fork = f"exec {sys.executable} -S {WARM} {socket}"
    commands = {
        "python": (
            f'case "$LAUNCHER$1" in src/*.py|../../src/*.py|tests/*.py) {fork} "$@";; esac',
            f'case "$KILL_PARENT$1 $2" in "-m dvc") shift 2; {fork} dvc "$@";; esac',
            f'exec {sys.executable} "$@"',
        ),
        "dvc": (f'[ -n "$KILL_PARENT" ] || {fork} dvc "$@"', f'exec {sys.executable} -m dvc "$@"'),
    }
    for name, lines in commands.items():
        (folder / name).write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        (folder / name).chmod(0o755)
    deadline = time.monotonic() + 120
    while not socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return folder


@pytest.fixture
def cold(monkeypatch):
    """Stages start as a user's do."""
    monkeypatch.setenv("COLD", "1")


def environment(folder: Path, more: dict | None = None) -> dict[str, str]:
    """What a user with .venv activated has, and nothing of the user's own Git and DVC; python is `warm`, but for `cold`."""
    first = [] if "COLD" in os.environ else [warm()]
    path = os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    names = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    places = {"PATH": path, "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp")}
    return os.environ | quiet | names | places | (more or {})


def command(folder: Path, *words: str, env: dict | None = None, **options) -> subprocess.CompletedProcess:
    """Run a command and wait for it."""
    return subprocess.run(words, cwd=folder, env=environment(folder, env), capture_output=True, text=True, **options)


def succeed(folder: Path, *words: str, **options) -> str:
    done = command(folder, *words, **options)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def copy_repository(target: Path, params: dict | None = None, corpus: bool = True) -> Path:
    """The files git would commit, as a repository of one commit, on the fixture corpus where params say so."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    if params is not None:
        (target / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        (target / "dvc.lock").unlink(missing_ok=True)
    if corpus:
        write_arguana(target / "data" / "fixture")
    succeed(target, "git", "init", "--quiet", "--initial-branch", "main")
    succeed(target, "git", "add", "--all")
    succeed(target, "git", "commit", "--quiet", "--message", "Start")
    return target


def once(place: Path, make: Callable[[Path], object]) -> Path:
    """Make something in a place that all test workers share; the first that comes makes it, the others wait."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.exists():
            make(place.with_name(f"{place.name}-unfinished"))
            place.with_name(f"{place.name}-unfinished").rename(place)
    return place


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Path:
    """A folder that all test workers of this session have in common."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "shared"


@pytest.fixture(scope="session")
def tiny_bert(shared) -> Path:
    return once(shared / "bert", write_bert)


@pytest.fixture(scope="session")
def arguana(tmp_path_factory) -> Path:
    return write_arguana(tmp_path_factory.mktemp("corpus") / "arguana")


@pytest.fixture(scope="module")
def repository(tiny_bert, shared, tmp_path_factory) -> Path:
    """The fixture corpus run through the whole pipeline, committed, with two experiments; run once, a copy a test file."""

    def make(folder: Path) -> None:
        copy_repository(folder, fixture_params(tiny_bert))
        succeed(folder, "dvc", "repro")
        succeed(folder, "git", "add", "--all")
        succeed(folder, "git", "commit", "--quiet", "--message", "Run")
        for name, decay in (("slow", "0.005"), ("constant", "none")):
            succeed(folder, "dvc", "exp", "run", "--name", name, "-S", f"decay={decay}")
            restore(folder)

    return shutil.copytree(once(shared / "repository", make), tmp_path_factory.mktemp("dvc") / "repository", symlinks=True)


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file that a run produces, but for the wall-clock values."""
    names = ("metrics", "plots", "models", "reranker", "data/triples", "data/baselines", "data/ranks")
    files = [path for name in names for path in (folder / name).rglob("*") if path.is_file() and path.name != "timing.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


def processes_in(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def wait_until_nothing_runs_in(folder: Path, seconds: float = 2) -> list[str]:
    """The commands of processes that still run in a folder after some seconds; they are killed."""
    from counterpoint.experiments.dvc_runs import wait_for_zombies  # here, since DVC is slow to import

    deadline = time.monotonic() + seconds
    while (running := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    wait_for_zombies(folder / ".dvc/tmp/rwlock")  # DVC would take one for running
    commands = [Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode() for process in running]
    for process in running:
        os.kill(process, signal.SIGKILL)
    return commands


@pytest.fixture
def run(tiny_bert, tmp_path, monkeypatch):
    """A function that runs stages in a folder, with changes of params; it returns what metrics/reranker.json says."""
    return stages_in(tmp_path, tiny_bert, monkeypatch)


def stages_in(
    folder: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, params: dict | None = None
) -> Callable[..., dict | None]:
    """The fixture corpus in a folder, which becomes the working directory, and a function as `run` gives it.

    params are all of params.yaml; None = those of the fixture.
    """
    monkeypatch.chdir(folder)
    for name in ("CHECKPOINT_DIR", "STATES_DIR"):
        monkeypatch.setenv(name, str(folder / name))
    write_arguana(folder / "data/fixture")
    no_negatives(folder)

    def stages(*verbs, **changes):
        (folder / "params.yaml").write_text(yaml.safe_dump(params or fixture_params(encoder, **changes)))
        for verb in verbs:
            monkeypatch.delitem(sys.modules, verb, raising=False)
            importlib.import_module(verb).main()
        file = Path("metrics/reranker.json")
        return json.loads(file.read_text()) if file.exists() else None

    return stages


@pytest.fixture(scope="session")
def finished(tiny_bert, shared) -> Path:
    """The fixture corpus through every stage, in this process, once for all workers."""

    def make(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            verbs = ("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate", "plot", "publish")
            stages_in(folder, tiny_bert, patch)(*verbs, model__sharing="projection", train__epochs=2, rerank__epochs=1)

    return once(shared / "finished", make)


@pytest.fixture
def finished_run(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished run, as working directory."""
    folder = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(folder)
    return folder


def restore(folder: Path) -> str:
    """What `make restore` runs."""
    return succeed(folder, "python", "src/restore.py")


LONGEST = ("killed", "sweep", "machine", "compare", "soup", "pipeline", "dvc", "restore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that the workers end at about the same time."""
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem.removeprefix("test_"), len(order)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays, and is not looked through in every test
    gc.enable()
