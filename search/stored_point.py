"""One measured network of a stored study, with its weights and the data it was measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.judgement import Judgement, judge
from search.measured_trials import MeasuredPoint
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError, match_study
from search.study_data import describe_dataset, open_dataset
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
    point = find_point(load_study_report(database, study_name), trial_number, stage)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    config = parse_study_config(record.text, f"study {study_name}")
    file = open_dataset(config)
    config = match_study(config, database, describe_dataset(file))
    return StoredPoint(database, ArtifactStore(artifacts), config, file, point)


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
