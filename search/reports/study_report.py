"""What a study has found so far: its trials and their points, its front, its hypervolume and its builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna

from search import trial_attributes
from search.hardware_estimates import study_target
from search.judgement import Judgement, Replicates, judge
from search.measured_trials import MeasuredPoint, MeasuredTrial, list_chosen, load_measured_trials
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
from search.optuna_storage import open_optuna_storage
from search.study import StudyError
from spaces.campaign_stages import CampaignStagePart
from spaces.metrics import needs_hardware
from spaces.study_config import PromotionPart, StudyConfig, parse_study_config
from storage.builds import load_builds
from storage.database import Database
from storage.records import Build
from storage.replicates import load_replicates
from storage.studies import list_studies, load_study_record


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state."""

    complete: int
    pruned: int
    """Could not be built."""
    failed: int
    running: int
    waiting: int
    stopped: int = 0
    """Early, at a rung."""

    @property
    def total(self) -> int:
        """All trials."""
        return self.trained + self.pruned + self.failed + self.running + self.waiting

    @property
    def trained(self) -> int:
        """To their end or to the rung where they were stopped: those that a budget of trials counts."""
        return self.complete + self.stopped

    def describe_others(self) -> str:
        """How many ended in another way than complete, such as "4 stopped early, 1 could not be built, 0 failed"."""
        stopped = f"{self.stopped} stopped early, " if self.stopped else ""
        return f"{stopped}{self.pruned} could not be built, {self.failed} failed"


@dataclass(frozen=True)
class StudyReport:
    """A study at one moment."""

    study_name: str
    threshold: float
    """Accuracy from which a network is of use."""
    counts: TrialCounts
    trials: tuple[MeasuredTrial, ...]
    """All trials that have points: complete, or stopped early after a stage; in the order they were asked."""
    front: tuple[MeasuredPoint, ...]
    """The non-dominated feasible points of all trials, sorted by the second objective from its best value."""
    hypervolume: float
    builds: tuple[Build, ...]
    objectives: tuple[Objective, ...]
    """Accuracy is the first."""
    constraints: tuple[Constraint, ...]
    least_fps: float
    """In frames/s; builds of slower networks fail."""
    promotion: PromotionPart = field(default_factory=PromotionPart)
    """How many points go to hardware, and what they have to show before."""
    replicates: Replicates = field(default_factory=dict)
    """Trainings of its points with other seeds."""
    campaign: tuple[CampaignStagePart, ...] = ()
    """The stages of a staged campaign."""
    chosen: tuple[int | None, ...] = ()
    """Of each of these the trial whose network it hands on; None where it has none yet."""
    paper: str | None = None
    """The published table beside which its results are set, by name."""

    @property
    def asks_for_hardware(self) -> bool:
        """Whether each trial has FINN's estimate."""
        return needs_hardware(goal.metric for goals in (self.objectives, self.constraints) for goal in goals)

    @property
    def points(self) -> tuple[MeasuredPoint, ...]:
        """Of all trials, each trial's in the order of its stages."""
        return tuple(point for trial in self.trials for point in trial.points)

    @property
    def has_stages(self) -> bool:
        """Whether a trial has more than one point, so that its number alone does not say which."""
        return any(len(trial.evaluations) > 1 for trial in self.trials)

    def is_feasible(self, point: MeasuredPoint) -> bool:
        """Whether the point keeps all constraints of the study."""
        return keeps_all(self.constraints, point)

    def judge(self, point: MeasuredPoint) -> Judgement:
        """By all its trainings."""
        return judge(point, self.replicates)

    def reaches_threshold(self, point: MeasuredPoint) -> bool:
        """Whether it may go to hardware, by the study's rule and all its trainings."""
        return self.judge(point).passes(self.threshold, self.promotion)

    @property
    def complete_trials(self) -> tuple[MeasuredTrial, ...]:
        """Those that were not stopped early: their last points are the trials' values in Optuna."""
        return tuple(trial for trial in self.trials if not trial.is_stopped)

    @property
    def n_infeasible(self) -> int:
        """Trials whose last point breaks a constraint: those that are infeasible in Optuna."""
        return sum(not self.is_feasible(trial.last) for trial in self.complete_trials)

    @property
    def best_feasible(self) -> MeasuredPoint | None:
        """The feasible point that is best in the second objective and reaches the threshold."""
        return next((point for point in self.front if self.reaches_threshold(point)), None)


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
    # of equal points the first is on the front: a trial's own values, those of its last stage
    points = [point for trial in trials for point in reversed(trial.points)]
    feasible = [point for point in points if keeps_all(constraints, point)]
    objectives = complete_references(study_objectives(config), points)
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
        promotion=config.promotion,
        replicates=load_replicates(database, study.study_name),
        campaign=config.stages,
        chosen=tuple(list_chosen(trials, config)),
        paper=config.paper,
    )


def count_trials(study: optuna.Study) -> TrialCounts:
    """How many trials the study has in each state."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state.name for trial in trials)
    stopped = sum(trial_attributes.is_stopped(trial) for trial in trials)
    return TrialCounts(
        complete=states["COMPLETE"],
        pruned=states["PRUNED"] - stopped,
        failed=states["FAIL"],
        running=states["RUNNING"],
        waiting=states["WAITING"],
        stopped=stopped,
    )
