"""Write params.schema.json and docs/params.md from the params' own types and sentences: python tools/params_docs.py."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from counterpoint.core.params_file import rule, schema_of

HEAD = """# Params

Every key of `params.yaml`, generated from `src/counterpoint/core/sections.py` by `make docs`. Unknown, missing and mistyped
keys are refused with the rule, before anything is touched. `none` may be written wherever it is offered. Editors with a YAML
language server complete and check the file as you type, by `params.schema.json`, which its first line names.

The defaults were chosen on the sample's validation split. A variant is `dvc exp run -S key=value`.

| key | default | must be | meaning |
|---|---|---|---|
"""


def main() -> None:
    (ROOT / "params.schema.json").write_text(schema(), encoding="utf-8")
    (ROOT / "docs/params.md").write_text(page(), encoding="utf-8")


def schema() -> str:
    """What editors check params.yaml by: `none` is a word there, and to us no value."""
    whole = schema_of() | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "params.yaml of Counterpoint"}
    return json.dumps(_with_none(whole), indent=1, ensure_ascii=False) + "\n"


def _with_none(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_none(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_none(item) for key, item in value.items()}
    if {"type": "null"} in found.get("anyOf", []):
        found["anyOf"] += [{"const": "none"}]
    return found


def page() -> str:
    defaults = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    rows = [
        f"| `{'.'.join(path)}` | {_written(default)} | {_cell(rule(schema))} | {_cell(meaning)} |"
        for path, default, schema, meaning in keys(defaults)
    ]
    return HEAD + "\n".join(rows) + "\n"


def keys(values: dict, *above: str) -> Iterator[tuple[tuple[str, ...], Any, dict, str]]:
    """(path, default, schema, meaning) of every key, in the order of the types."""
    for name, described in schema_of(*above)["properties"].items():
        path, found = (*above, name), schema_of(*above, name)
        if "properties" in found:
            yield from keys(values[name], *path)
        else:
            yield path, values[name], found, described["description"]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
