"""What a study has found so far: its trials, its front, its hypervolume and its builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from search.hardware_estimates import study_target
from search.measured_trials import MeasuredTrial, load_measured_trials
from search.objectives import (
    Constraint,
    Objective,
    complete_references,
    find_front,
    keeps_all,
    measure_hypervolume,
    study_constraints,
    study_objectives,
)
from search.study import StudyError, open_optuna_storage
from spaces.metrics import needs_hardware
from spaces.study_config import StudyConfig, parse_study_config
from storage.builds import load_builds
from storage.database import Database
from storage.records import Build
from storage.studies import list_studies, load_study_record


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def total(self) -> int:
        """All trials."""
        return self.complete + self.pruned + self.failed + self.running + self.waiting


@dataclass(frozen=True)
class StudyReport:
    """A study at one moment."""

    study_name: str
    threshold: float
    """Accuracy from which a network is of use."""
    counts: TrialCounts
    trials: tuple[MeasuredTrial, ...]
    """All complete trials, in the order they were asked."""
    front: tuple[MeasuredTrial, ...]
    """The non-dominated feasible trials, sorted by the second objective from its best value."""
    hypervolume: float
    builds: tuple[Build, ...]
    objectives: tuple[Objective, ...]
    """Accuracy is the first."""
    constraints: tuple[Constraint, ...]
    least_fps: float
    """In frames/s; builds of slower networks fail."""

    @property
    def asks_for_hardware(self) -> bool:
        """Whether each trial has FINN's estimate."""
        return needs_hardware(goal.metric for goals in (self.objectives, self.constraints) for goal in goals)

    def is_feasible(self, trial: MeasuredTrial) -> bool:
        """Whether the trial keeps all constraints of the study."""
        return keeps_all(self.constraints, trial)

    @property
    def best_feasible(self) -> MeasuredTrial | None:
        """The feasible trial that is best in the second objective and reaches the threshold."""
        return next((trial for trial in self.front if trial.accuracy >= self.threshold), None)


def load_study_report(database: Database, study_name: str) -> StudyReport:
    """Raises StudyError where the database has no such study, or no trials of it."""
    record = load_study_record(database, study_name)
    if record is None:
        known = ", ".join(list_studies(database)) or "none"
        raise StudyError(f"study is {study_name}; expected one of those in the database: {known}")
    study = _load_study(database, study_name)
    config = parse_study_config(record.text, f"study {study_name}")
    return make_study_report(database, study, config, load_builds(database, study_name))


def _load_study(database: Database, study_name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=study_name, storage=open_optuna_storage(database))
    except KeyError:
        raise StudyError(
            f"study {study_name} has no trials: its run is just starting, or it was deleted in Optuna dashboard; "
            "expected a study that is there: search.run with its study file starts it anew"
        ) from None


def make_study_report(
    database: Database, study: optuna.Study, config: StudyConfig, builds: Sequence[Build]
) -> StudyReport:
    """The report of an open study."""
    constraints = study_constraints(config)
    trials = load_measured_trials(database, study)
    feasible = [trial for trial in trials if keeps_all(constraints, trial)]
    objectives = complete_references(study_objectives(config), trials)
    return StudyReport(
        study_name=study.study_name,
        threshold=config.objectives.accuracy.threshold,
        counts=count_trials(study),
        trials=trials,
        front=tuple(feasible[index] for index in find_front(objectives, feasible)),
        hypervolume=measure_hypervolume(objectives, feasible),
        builds=tuple(builds),
        objectives=objectives,
        constraints=constraints,
        least_fps=study_target(config).least_fps,
    )


def count_trials(study: optuna.Study) -> TrialCounts:
    """How many trials the study has in each state."""
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    return TrialCounts(states["COMPLETE"], states["PRUNED"], states["FAIL"], states["RUNNING"], states["WAITING"])
