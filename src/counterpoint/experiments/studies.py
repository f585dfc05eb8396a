"""Read studies/NAME.yaml: the params that vary, those that are held, and the planned comparisons, all before any run."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from counterpoint.arguments.seen import QueryKind
from counterpoint.core.errors import InputError
from counterpoint.core.params import flat, parse_params
from counterpoint.core.sections import Section, Seed, Text, key
from counterpoint.experiments.dvc_runs import NO_RESULT, PlannedRun, params_text
from counterpoint.experiments.versions import added

FOLDER, RESULTS, NAME = Path("studies"), Path("docs/results"), r"[a-z0-9][a-z0-9_.-]*"
OWN = ("corpus", "fetch")  # sections that may differ: the sha256 of a study's data identifies them
Settings = Annotated[dict[str, Any], BeforeValidator(lambda value: flat(value) if isinstance(value, dict) else value)]
SHA256 = Annotated[str, Field(pattern="[0-9a-f]{64}")]


class Comparison(Section):
    """A comparison of two arms in test top1."""

    arm: Text = key("the arm that is compared")
    against: Text = key("the arm that it is compared with, seed by seed and query by query")
    setting: Text = key("of the test split, as in metrics/settings.json")
    queries: QueryKind = key("which of its queries")
    stage: Literal["retrieved_dense", "retrieved", "reranked"] = key("by vectors alone, with words, or after reranking")


class Study(Section):
    """A study's file."""

    question: Text = key("its question, in a sentence")
    data: SHA256 | None = Field(None, description="sha256 of the corpus; none = whatever stands at `corpus`")
    hold: Settings = key(
        "every param that decides a number, but for keys that arms vary or that were added later; params.yaml gives none"
    )
    seeds: list[Seed] = Field(min_length=1, description="each arm runs with each of them")
    arms: dict[Annotated[str, Field(pattern=f"^{NAME}$")], Settings] = Field(
        min_length=1, description="a name, and the params that differ from `hold`"
    )
    ask: list[Comparison] = key("the comparisons that are planned")


@dataclass(frozen=True)
class StudyRun(PlannedRun):
    """A run of a study's plan."""

    study: str
    arm: str
    seed: int

    @property
    def file(self) -> Path:
        """Return the file that keeps the finished run."""
        return RESULTS / self.study / "runs" / f"{self.name}.json"

    @property
    def decides(self) -> dict:
        """Return the params on which the run's results depend, besides its data, nested."""
        return self.params.model_dump(mode="json", exclude={*OWN, *NO_RESULT})


def load_study(name: str) -> Study:
    """Return the study of studies/NAME.yaml; the InputError names the file, the key, its rule and the value."""
    file = FOLDER / f"{name}.yaml"
    if not re.fullmatch(NAME, name) or not file.exists():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml"))) or "none"
        raise InputError(f"--study must be a file's name in {FOLDER}/, one of {known}; got {name!r}")
    try:
        study = Study.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as error:  # ValidationError is a ValueError
        says = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        line = f"{'.'.join(map(str, says['loc']))}: {says['msg']}" if says else " ".join(str(error).split())
        raise InputError(f"{file} must be a study; {line}") from None
    if twice := [seed for seed in study.seeds if study.seeds.count(seed) > 1]:
        raise InputError(f"{file}: seeds must differ; got {twice[0]} twice")
    named = [arm for comparison in study.ask for arm in (comparison.arm, comparison.against)]
    if unknown := [arm for arm in named if arm not in study.arms]:
        raise InputError(f"{file}: ask must name arms, {', '.join(study.arms)}; got {unknown[0]!r}")
    return study


def runs_of(name: str, study: Study, settings: Sequence[str], seeds: Sequence[int] | None = None) -> list[StudyRun]:
    """Return a run per seed and arm, all arms of a seed first, so that the runs done at any time compare all arms.

    settings are -S, which may only say where the corpus is; seeds are some of the study's, None for all.
    """
    file = f"{FOLDER}/{name}.yaml"
    if strange := [seed for seed in seeds or () if seed not in study.seeds]:
        raise InputError(f"--seeds must be of {file}, {', '.join(map(str, study.seeds))}; got {strange[0]}")
    for setting in settings:
        if not re.match(rf"({'|'.join(OWN)})\b", setting):
            raise InputError(f"-S beside --study must be of {', '.join(OWN)}: the study says the rest; got {setting}")
    runs, held = [], added() | study.hold
    for seed in dict.fromkeys(seeds or study.seeds):
        for arm, varied in study.arms.items():
            words = [*written(held), *written(varied), f"seed={seed}", *settings]
            text = params_text(words)
            params = parse_params(text, f"{file}, {arm}")
            run = StudyRun(f"{name}-{arm}-seed-{seed}", words, text, params, name, arm, seed)
            if missing := flat(run.decides).keys() - {"seed", *held, *varied}:
                raise InputError(f"{file}: hold must name every param that decides a number; {min(missing)} is missing")
            runs.append(run)
    return runs


def written(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as words for `dvc exp run -S`."""

    def text_of(value: Any) -> str:
        if value is None:
            return "none"
        return value if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) else json.dumps(value)

    return [f"{name}={text_of(value)}" for name, value in settings.items()]
