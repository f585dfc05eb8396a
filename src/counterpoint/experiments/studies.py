"""Studies: what is varied, what is held and what is asked, written down in studies/NAME.yaml before any run."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from counterpoint.core.errors import InputError
from counterpoint.core.params_file import parse_params
from counterpoint.core.sections import Section, key
from counterpoint.core.values import Seed, Text
from counterpoint.experiments.dvc_runs import params_text
from counterpoint.experiments.sweep_plan import PlannedRun
from counterpoint.experiments.versions import added, flat
from counterpoint.negatives.schedule import Schedule

FOLDER, NAME = Path("studies"), r"[a-z0-9][a-z0-9_.-]*"
OWN = ("corpus", "fetch")  # sections that may differ: a study's data are told by their hash
Settings = Annotated[dict[str, Any], BeforeValidator(lambda value: flat(value) if isinstance(value, dict) else value)]
SHA256 = Annotated[str, Field(pattern="[0-9a-f]{64}")]


class Asked(Section):
    arm: Text = key("the arm whose top1 is asked for")
    against: Text = key("the arm that it is compared with, seed by seed and query by query")
    setting: Text = key("of the test split, as in metrics/settings.json")
    queries: Literal["all", "unseen"] = key("which of its queries")
    stage: Literal["retrieved", "reranked"] = key("before or after the second step")


class Study(Section):
    question: Text = key("what it is for, in a sentence")
    data: SHA256 | None = Field(None, description="sha256 of the corpus; none = whatever stands at `corpus`")
    hold: Settings = key(
        "every param that decides a number, but for keys that arms vary or that were added later; params.yaml gives none"
    )
    seeds: list[Seed] = Field(min_length=1, description="each arm is run with every one")
    arms: dict[Text, Settings] = Field(min_length=1, description="what is compared: a name, and the params that make it")
    ask: list[Asked] = key("the comparisons that are planned")


@dataclass(frozen=True)
class Arm:
    """An arm as pictures and tables take a schedule."""

    label: str
    schedule: Schedule

    @property
    def never_random(self) -> bool:
        return self.schedule.never_random


@dataclass(frozen=True)
class StudyRun(PlannedRun):
    """A run of a study's plan."""

    arm: str
    seed: int

    @property
    def decides(self) -> dict:
        """Return the params on which the run's results depend, besides its data, nested."""
        return self.params.model_dump(mode="json", exclude=set(OWN))


def load_study(name: str) -> Study:
    """studies/NAME.yaml; InputError names the file, the key, its rule and the value."""
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
    for arm in study.arms:
        if not re.fullmatch(NAME, arm):
            raise InputError(f"{file}: an arm's name must be of small letters, digits and -_. alone; got {arm!r}")
    for asked in study.ask:
        if unknown := [arm for arm in (asked.arm, asked.against) if arm not in study.arms]:
            raise InputError(f"{file}: ask must name arms, {', '.join(study.arms)}; got {unknown[0]!r}")
    return study


def runs_of(name: str, study: Study, settings: Sequence[str], seeds: Sequence[int] | None = None) -> list[StudyRun]:
    """Seed by seed a run of each arm, so that what is done at any time compares all of them.

    settings are what -S is given beside: where the corpus is, and no more. seeds are some of the study's, None for all.
    """
    if strange := [seed for seed in seeds or () if seed not in study.seeds]:
        raise InputError(f"--seeds must be of {FOLDER}/{name}.yaml, {', '.join(map(str, study.seeds))}; got {strange[0]}")
    for setting in settings:
        if not re.match(rf"({'|'.join(OWN)})\b", setting):
            raise InputError(f"-S beside --study must be of {', '.join(OWN)}: the study says the rest; got {setting}")
    runs, held = [], added() | study.hold
    for seed in dict.fromkeys(seeds or study.seeds):
        for arm, varied in study.arms.items():
            words = [*written(held), *written(varied), f"seed={seed}", *settings]
            text = params_text(words)
            params = parse_params(text, f"{FOLDER}/{name}.yaml, {arm}")
            run = StudyRun(f"{name}-{arm}-seed-{seed}", words, text, params, arm, seed)
            if missing := flat(run.decides).keys() - {"seed", *held, *varied}:
                raise InputError(
                    f"{FOLDER}/{name}.yaml: hold must name every param that decides a number; {min(missing)} is missing"
                )
            runs.append(run)
    return runs


def written(settings: Mapping[str, Any]) -> list[str]:
    """Settings as `dvc exp run -S` takes them."""

    def value_of(value: Any) -> str:
        if value is None:
            return "none"
        return value if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) else json.dumps(value)

    return [f"{name}={value_of(value)}" for name, value in settings.items()]
