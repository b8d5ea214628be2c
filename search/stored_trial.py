"""One complete trial of a stored study, with its weights and the data it was measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.measured_trials import MeasuredTrial
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError, check_is_same_study
from search.study_data import describe_dataset, open_dataset
from spaces.study_config import StudyConfig, parse_study_config
from storage.artifacts import ArtifactStore
from storage.database import Database, open_existing_database
from storage.dataset.radioml import RadioMLFile
from storage.studies import load_study_record


@dataclass(frozen=True)
class StoredTrial:
    """A trial and what it takes to measure or build it again."""

    database: Database
    artifacts: ArtifactStore
    config: StudyConfig
    file: RadioMLFile
    measured: MeasuredTrial

    @property
    def study_name(self) -> str:
        """Of its study."""
        return self.config.study.name

    @property
    def number(self) -> int:
        """In its study, from 0."""
        return self.measured.trial_number

    @property
    def is_below_threshold(self) -> bool:
        """Whether its accuracy is too low to be of use. Such a trial is built only to show the whole chain."""
        return self.measured.accuracy < self.config.objectives.accuracy.threshold

    @property
    def checkpoint(self) -> Path:
        """The weights at the end of its last stage; they may be missing."""
        return self.artifacts.path(self.measured.last.checkpoint)


def open_stored_trial(storage: str, artifacts: Path, study_name: str, trial_number: int) -> StoredTrial:
    """Raises ArtifactError, ConfigError, DatabaseError, DatasetError or StudyError where something is missing."""
    database = open_existing_database(storage)
    measured = find_trial(load_study_report(database, study_name), trial_number)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    config = parse_study_config(record.text, f"study {study_name}")
    file = open_dataset(config)
    check_is_same_study(config, database, describe_dataset(file))
    return StoredTrial(database, ArtifactStore(artifacts), config, file, measured)


def find_trial(report: StudyReport, trial_number: int) -> MeasuredTrial:
    """The complete trial of this number. Raises StudyError where there is none."""
    trials = {trial.trial_number: trial for trial in report.trials}
    if trial_number not in trials:
        front = ", ".join(str(trial.trial_number) for trial in report.front) or "none yet"
        raise StudyError(
            f"trial is {trial_number}; expected a complete trial of {report.study_name}, such as its front: {front}"
        )
    return trials[trial_number]
