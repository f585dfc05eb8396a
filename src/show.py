"""After a run: what was produced and where to look."""

import json
from pathlib import Path

from counterpoint import stage


def main() -> None:
    headline = json.loads(Path("metrics/test.json").read_text(encoding="utf-8"))
    train = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))
    measures = list(headline["epa"]["retrieved"])
    print(f"\n{'test split':<18}" + "".join(f"{measure:>8}" for measure in measures))
    for setting, stages in headline.items():
        for name, values in stages.items():
            print(f"{setting + ' ' + name:<18}" + "".join(f"{values[measure]:>8.3f}" for measure in measures))
    epoch = "untrained" if train["best_epoch"] is None else f"epoch {train['best_epoch']} of 0-{train['epochs'] - 1}"
    print(f"\nmodel     models/point, {epoch} (a sentence-transformers directory)")
    print("metrics   metrics/*.json; dvc metrics show, dvc metrics diff, dvc exp show")
    print(f"pictures  {'  '.join(sorted(str(path) for path in Path('plots').glob('*.png')))}")
    print("next      dvc exp run -n slow -S decay=0.005; dvc plots diff HEAD slow")


if __name__ == "__main__":
    stage.run(main)
