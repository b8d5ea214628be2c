"""Sends one trial to the build queue: `python -m search.promote STUDY TRIAL`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna

from search.promotion import PromotionError, promote_trial
from search.report import StudyReport, TrialReport, load_study_report
from search.study import StudyError, check_is_same_study
from search.study_data import describe_dataset, open_dataset
from spaces.study_config import ConfigError, parse_study_config
from storage.artifacts import DEFAULT_ARTIFACTS_FOLDER, ArtifactError, ArtifactStore
from storage.database import DEFAULT_DATABASE_URL, DatabaseError, open_existing_database
from storage.radioml import DatasetError
from storage.records import Build
from storage.studies import load_study_record


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the build; exit code 2 where study, trial or data are not there, or the network cannot be built."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        build = promote(args.storage, args.artifacts, args.study, args.trial)
    except (ArtifactError, ConfigError, DatabaseError, DatasetError, PromotionError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    name = f"trial {build.trial_number} of {build.study_name}"
    print(f"{name}: build {build.build_id} for {build.target.board} is {build.state}; python -m fpga.run builds it")
    return 0


def promote(storage: str, artifacts: Path, study_name: str, trial_number: int) -> Build:
    """Promotes one complete trial of a study in this database. Raises the errors that `main` prints."""
    database = open_existing_database(storage)
    report = load_study_report(database, study_name)
    trial = find_trial(report, trial_number)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    config = parse_study_config(record.text, f"study {study_name}")
    file = open_dataset(config)
    check_is_same_study(config, database, describe_dataset(file))
    return promote_trial(
        database, ArtifactStore(artifacts), config, file, trial, lambda step: print(step, file=sys.stderr)
    )


def find_trial(report: StudyReport, trial_number: int) -> TrialReport:
    """The complete trial of this number. Raises StudyError where there is none."""
    trials = {trial.trial_number: trial for trial in report.trials}
    if trial_number not in trials:
        front = ", ".join(str(trial.trial_number) for trial in report.front) or "none yet"
        raise StudyError(
            f"trial is {trial_number}; expected a complete trial of {report.study_name}, such as its front: {front}"
        )
    return trials[trial_number]


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m search.promote", description="Sends one trial of a study to the build queue."
    )
    parser.add_argument("study", help="name of the study")
    parser.add_argument("trial", type=int, help="number of a complete trial")
    parser.add_argument("--storage", default=DEFAULT_DATABASE_URL, metavar="URL", help="database (%(default)s)")
    parser.add_argument(
        "--artifacts",
        type=Path,
        default=DEFAULT_ARTIFACTS_FOLDER,
        metavar="DIR",
        help="folder of weights (%(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
