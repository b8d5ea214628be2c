"""Sends one network to the build queue: `python -m search.promote STUDY TRIAL [--stage N]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna

from search.promotion import PromotionError, promote_point
from search.stored_point import open_stored_point
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactError
from storage.command_options import add_network_options
from storage.commands import make_parser, run_command
from storage.database import DatabaseError
from storage.dataset.radioml import DatasetError
from storage.records import Build, BuildState


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the build. Exit code 2 where study, trial or data are missing, or the network cannot be built."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        build = promote(args.storage, args.artifacts, args.study, args.trial, args.stage)
    except (ArtifactError, ConfigError, DatabaseError, DatasetError, PromotionError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    target = f"{build.target.board} at {build.target.target_fps:,} frames/s"
    print(f"{build.network} of {build.study_name}: build {build.build_id} for {target} {_describe_state(build, args)}")
    return 0


def _describe_state(build: Build, args: argparse.Namespace) -> str:
    if build.state is BuildState.SUCCEEDED and build.folder is not None:
        end = "" if build.level_note is None else f", up to {build.level}: {build.level_note}"
        return f"is finished in {args.artifacts / build.folder}{end}"
    if build.state is BuildState.RUNNING:
        return "is running"
    return f"is {build.state}; python -m fpga.run builds it"


def promote(storage: str, artifacts: Path, study_name: str, trial_number: int, stage: int | None = None) -> Build:
    """Promotes one complete trial as it is after a stage, the last by default. Raises the errors that `main` prints."""
    stored = open_stored_point(storage, artifacts, study_name, trial_number, stage)
    return promote_point(stored, lambda step: print(step, file=sys.stderr))


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.promote", description="Sends one network of a study to the build queue."
    )
    add_network_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
