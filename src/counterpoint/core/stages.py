"""The stages of dvc.yaml and their code."""

from collections.abc import Callable
from pathlib import Path

import yaml


def code_of(wanted: Callable[[str], bool]) -> list[str]:
    """Return the source files and folders that the wanted stages depend on, sorted; none where there is no dvc.yaml."""
    file = Path("dvc.yaml")
    stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"] if file.exists() else {}
    return sorted({dep for name, stage in stages.items() if wanted(name) for dep in stage["deps"] if dep.startswith("src/")})
