"""One measured network of a stored study, with its weights and the data it was measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from search.judgement import Judgement, judge
from search.measured_trials import MeasuredPoint
from search.optuna_storage import open_optuna_storage
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError, match_study
from search.study_data import describe_dataset, open_dataset
from search.trial_attributes import is_stopped, read_end
from spaces.study_config import StudyConfig, parse_study_config
from storage.artifacts import ArtifactStore
from storage.database import Database, open_existing_database
from storage.dataset.radioml import RadioMLFile
from storage.replicates import load_replicates
from storage.studies import load_study_record


@dataclass(frozen=True)
class StoredPoint:
    """A point and what it takes to measure or build its network again."""

    database: Database
    artifacts: ArtifactStore
    config: StudyConfig
    file: RadioMLFile
    point: MeasuredPoint

    @property
    def study_name(self) -> str:
        """Of its study."""
        return self.config.study.name

    @property
    def name(self) -> str:
        """Such as "trial 7 stage 2 of dsc4"."""
        return f"{self.point.name} of {self.study_name}"

    @property
    def judgement(self) -> Judgement:
        """By all its trainings."""
        return judge(self.point, load_replicates(self.database, self.study_name))

    @property
    def is_below_threshold(self) -> bool:
        """Whether it does not reach the threshold by the study's rule; it is built only to show the whole chain."""
        return not self.judgement.passes(self.config.objectives.accuracy.threshold, self.config.promotion)

    @property
    def checkpoint(self) -> Path:
        """The weights at the end of its stage; they may be missing."""
        return self.artifacts.path(self.point.evaluation.checkpoint)


def open_stored_point(
    storage: str, artifacts: Path, study_name: str, trial_number: int, stage: int | None
) -> StoredPoint:
    """A trial at the end of this stage; None: of its last one.

    Raises ArtifactError, ConfigError, DatabaseError, DatasetError or StudyError where something is missing.
    """
    database = open_existing_database(storage)
    report = load_study_report(database, study_name)
    end = describe_other_end(database, study_name, trial_number)
    if end is not None and all(trial.trial_number != trial_number for trial in report.trials):
        raise StudyError(f"trial {trial_number} of {study_name} has no network: {end}")
    point = find_point(report, trial_number, stage)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    config = parse_study_config(record.text, f"study {study_name}")
    file = open_dataset(config)
    config = match_study(config, database, describe_dataset(file))
    return StoredPoint(database, ArtifactStore(artifacts), config, file, point)


def describe_other_end(database: Database, study_name: str, trial_number: int) -> str | None:
    """How the trial stands, and why, where it is not complete; None for those that are, or are not there."""
    study = optuna.load_study(study_name=study_name, storage=open_optuna_storage(database))
    trials = study.get_trials(deepcopy=False)
    trial = trials[trial_number] if 0 <= trial_number < len(trials) else None
    if trial is None or trial.state is TrialState.COMPLETE:
        return None
    if not trial.state.is_finished():
        return "it runs" if trial.state is TrialState.RUNNING else "it waits to be started"
    reason = (read_end(trial) or "nobody wrote down why").strip().splitlines()[-1]
    if trial.state is TrialState.FAIL:
        return f"it failed: {reason}"
    return f"it was stopped early: {reason}" if is_stopped(trial) else f"it could not be built: {reason}"


def find_point(report: StudyReport, trial_number: int, stage: int | None) -> MeasuredPoint:
    """The complete trial of this number at the end of this stage; None: of its last one. Raises StudyError."""
    trials = {trial.trial_number: trial for trial in report.trials}
    if trial_number not in trials:
        numbers = dict.fromkeys(str(point.trial_number) for point in report.front)
        raise StudyError(
            f"trial is {trial_number}; expected a complete trial of {report.study_name}, "
            f"such as its front: {', '.join(numbers) or 'none yet'}"
        )
    trial = trials[trial_number]
    points = {point.stage: point for point in trial.points}
    if stage is not None and stage not in points:
        stages = ", ".join(map(str, points))
        raise StudyError(f"stage is {stage}; expected a stage of trial {trial_number} of {report.study_name}: {stages}")
    return trial.last if stage is None else points[stage]
