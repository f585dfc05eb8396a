"""What a sweep runs, and what of it is done already: decays and seeds, or a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.experiments.dvc_runs import Experiment
from counterpoint.experiments.studies import FOLDER, load_study, runs_of
from counterpoint.experiments.study_rows import data_sha256, is_done, seconds_by_arm, take_row, write_row
from counterpoint.experiments.sweep_plan import PlannedRun, estimate, spoken
from counterpoint.experiments.workspace import refuse_edited


class Sweep:
    """A plan of runs; done is what DVC has. report is the command that tells what they say."""

    report = "make report"

    def __init__(self, plan: Sequence[PlannedRun]) -> None:
        self.plan = plan

    def has(self, run: PlannedRun) -> bool:
        """Whether it is done, whatever DVC has."""
        return False

    def missing(self, before: Mapping[str, Experiment]) -> list[PlannedRun]:
        """The runs that are not done; before are the experiments of this commit by name.

        Done is an experiment of the run's name, whose params and whole pipeline `refuse_namesakes` has looked at.
        """
        return [run for run in self.plan if not self.has(run) and (run.name not in before or before[run.name].state != "done")]

    def refuse_data(self) -> None:
        """Raise InputError where the corpus at hand is not the planned one."""

    def take_in(self, before: Mapping[str, Experiment]) -> None:
        """Keep what is done and was not kept."""

    def keep(self, run: PlannedRun, rev: str, seconds: float | None = None) -> None:
        """Keep a run that is done; rev has it."""

    def rows_of(self, folder: Path) -> list[str]:
        """Take over what another clone has kept of its runs beside DVC; returns their names."""
        return []

    def estimate(self, todo: Sequence[PlannedRun], before: Mapping[str, Experiment], jobs: int) -> str:
        return estimate(todo, dict(before), jobs)


class StudySweep(Sweep):
    """The runs of a study; done is what has a file of the same params, data and results version in docs/results/NAME/runs/."""

    def __init__(self, name: str, settings: Sequence[str], seeds: Sequence[int] | None = None) -> None:
        self.name, self.report = name, f"python src/report.py --study {name}"
        study = load_study(name)
        self.runs = {run.name: run for run in runs_of(name, study, settings, seeds)}
        super().__init__(list(self.runs.values()))
        refuse_edited(f"{FOLDER}/{name}.yaml")
        self.corpus = Path(self.plan[0].params.corpus)
        self.data = study.data or data_sha256(self.corpus)

    def refuse_data(self) -> None:
        if (at_hand := data_sha256(self.corpus)) != self.data:
            raise InputError(f"{FOLDER}/{self.name}.yaml: the corpus must have sha256 {self.data}; {self.corpus} has {at_hand}")

    def has(self, run: PlannedRun) -> bool:
        return is_done(self.name, self.runs[run.name], self.data)

    def take_in(self, before: Mapping[str, Experiment]) -> None:
        for run in self.plan:
            if not self.has(run) and run.name in before and before[run.name].state == "done":
                self.keep(run, before[run.name].rev)

    def keep(self, run: PlannedRun, rev: str, seconds: float | None = None) -> None:
        write_row(self.name, self.runs[run.name], rev, self.data, seconds)

    def rows_of(self, folder: Path) -> list[str]:
        return [
            run.name for run in self.plan if not self.has(run) and take_row(self.name, self.runs[run.name], folder, self.data)
        ]

    def estimate(self, todo: Sequence[PlannedRun], before: Mapping[str, Experiment], jobs: int) -> str:
        if seconds := seconds_by_arm(self.name, self.runs.values()):
            mean = sum(seconds.values()) / len(seconds)
            total = sum(seconds.get(self.runs[run.name].arm, mean) for run in todo)
            return f"about {spoken(total / jobs)} by the runs that are done"
        return super().estimate(todo, before, jobs)
