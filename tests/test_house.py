"""The shape of the house: rooms that import downwards, short modules and functions, the field's words, short pages."""

import ast
import functools
import re
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from counterpoint.core.params import load_params
from counterpoint.experiments.versions import flat

SRC = ROOT / "src"
PACKAGE = SRC / "counterpoint"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
FETCH = yaml.safe_load((ROOT / "data/arguana/dvc.yaml").read_text())["stages"]["fetch"]
FILES = sorted(SRC.rglob("*.py"))
# Each room may import those before it in this list.
ROOMS = (
    "core", "arguments", "corpus", "negatives", "model", "ranking",
    "lexical", "training", "reranking", "evaluation", "plots", "use", "experiments",
)  # fmt: skip
BANNED = {"each", "own", "found", "asked"}  # as names: take a noun
# The first words of docstrings of functions. A new one must be a verb, too.
VERBS = set(
    """Add Allow Announce Answer Append Apply Ask Average Bring Build Call Change Check Choose Clear Close Collect
    Compare Compute Copy Count Cut Describe Download Draw Drop Embed Encode End Evaluate Exchange Fetch Fill Find Fit Follow
    Forget Format Freeze Gather Give Hold Index Iterate Join Keep Leave List Load Lock Log Make Mark Measure Move Name
    Note Open Parse Pass Pick Place Plot Prepare Print Put Queue Raise Rank Read Recompute Record Refuse Release Remove
    Replace Report Require Rerank Restore Retrieve Return Reuse Run Save Say Score Search Seed Select Send Set Shorten
    Show Silence Split Spend Start Stop Sum Switch Take Tell Test Tokenize Train Treat Try Turn Undo Update Use Visit Wait
    Walk Warn Weigh Write Yield""".split()  # noqa: SIM905
)


@functools.cache
def imported(file: Path) -> set[Path]:
    """The modules of counterpoint that a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("counterpoint") for alias in node.names), f"{file}: from counterpoint… import"
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "counterpoint":
            place = SRC.joinpath(*node.module.split("."))
            names = [place / alias.name for alias in node.names] if place.is_dir() else [place]
            modules |= {name.with_suffix(".py") for name in names}
    return modules


def closure(file: Path) -> set[Path]:
    reached, todo = set(), [file]
    while todo:
        reached.add(now := todo.pop())
        todo += imported(now) - reached
    return reached


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize("verb", [*STAGES, "fetch"])
def test_the_deps_of_a_stage_are_the_rooms_that_it_imports(verb):
    deps = FETCH["deps"] if verb == "fetch" else STAGES[verb]["deps"]
    code = [dep.removeprefix("../../") for dep in deps if "src/" in dep]
    opened = {f"src/counterpoint/{room(module)}" for module in closure(SRC / f"{verb}.py") - {SRC / f"{verb}.py"}}
    assert len(code) == len(set(code))
    assert set(code) == opened | {f"src/{verb}.py"}


def test_no_stage_imports_the_experiments_and_the_package_itself_holds_nothing():
    assert not any("experiments" in dep for stage in STAGES.values() for dep in stage["deps"])
    assert (PACKAGE / "__init__.py").read_text() == ""


def test_an_edit_of_the_reranking_room_reruns_rerank_rank_and_publish_at_most():
    stages = {name for name, stage in STAGES.items() if "src/counterpoint/reranking" in stage["deps"]}
    assert {"rerank"} <= stages <= {"rerank", "rank", "publish"}


def test_imports_go_down_the_list_of_rooms_and_never_in_a_circle():
    modules = [file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]
    assert {room(module) for module in modules} == set(ROOMS)
    for module in modules:
        before = ROOMS[: ROOMS.index(room(module)) + 1]
        assert {room(target) for target in imported(module)} <= set(before), module
    graph = {module: imported(module) for module in modules}
    below, todo = set(), set(graph)
    while todo:
        free = {name for name in todo if graph[name] <= below}
        assert free, f"a circle among {sorted(todo)}"
        below, todo = below | free, todo - free


def test_a_module_of_core_is_used_from_three_places_or_more():
    """Rooms and scripts, not counting core itself."""
    users = {file: room(file) for file in PACKAGE.rglob("*.py")} | {file: file.name for file in SRC.glob("*.py")}
    for module in (PACKAGE / "core").glob("[!_]*.py"):
        assert len({name for file, name in users.items() if name != "core" and module in closure(file)}) >= 3, module


def functions(file: Path):
    """The functions of a file, with the classes that they stand in, and whether they stand in a function."""
    todo = [(node, (), False) for node in ast.parse(file.read_text()).body]
    while todo:
        node, classes, nested = todo.pop()
        is_function = isinstance(node, ast.FunctionDef)
        if is_function:
            yield node, classes, nested
        inside = (*classes, node) if isinstance(node, ast.ClassDef) else classes
        if is_function or isinstance(node, ast.ClassDef | ast.If | ast.With | ast.Try):
            todo += [(child, inside, nested or is_function) for child in node.body]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_modules_and_functions_stay_short_and_take_few_parameters(file):
    assert len(file.read_text().splitlines()) <= 250
    for function, classes, nested in functions(file):
        assert function.end_lineno - function.lineno < 40, function.name
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names = [argument.arg for argument in arguments if nested or not (classes and argument.arg in ("self", "cls"))]
        assert len(names) <= 6, f"{function.name}: {names}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_names_are_nouns_and_docstrings_begin_with_verbs(file):
    tree = ast.parse(file.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not names & BANNED
    assert file.read_text() == "" or ast.get_docstring(tree)
    for function, classes, nested in functions(file):
        if nested or any(node.name.startswith("_") for node in (function, *classes)):
            continue
        docstring = ast.get_docstring(function)
        assert docstring, f"{function.name} needs a docstring"
        assert docstring.split()[0].rstrip(",") in VERBS, f"{function.name}: {docstring.splitlines()[0]}"
    for node in ast.walk(tree):
        sections = [ast.unparse(base) for base in getattr(node, "bases", ())] == ["Section"]  # their keys say what they are
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not sections:
            docstring = ast.get_docstring(node)
            assert docstring, f"{node.name} needs a docstring"
            assert docstring.split()[0] not in ("What", "Which", "How", "That", "Whether"), node.name


def test_params_and_pages_stay_within_their_size():
    assert len(flat(load_params(ROOT / "params.yaml").model_dump())) <= 71
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 130
    assert len((ROOT / "README.md").read_text().split()) <= 900
    pages = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/results").glob("*.md"),
        ROOT / "CONTRIBUTING.md",
        ROOT / "data/README.md",
    ]
    assert sum(len(page.read_text().split()) for page in pages) <= 12_000
    assert len(re.findall(r"^\|(?! ?-)", (ROOT / "docs/glossary.md").read_text(), re.M)) <= 31  # with its heading
