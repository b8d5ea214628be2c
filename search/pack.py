"""Writes a study to one file that goes on elsewhere: `python -m search.pack STUDY FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna

from search.packing import PackError, pack_study
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactError, ArtifactStore
from storage.command_options import add_artifacts_option, add_storage_option
from storage.commands import make_parser, run_command
from storage.database import DatabaseError, open_existing_database
from storage.leases import StudyLeaseError


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what the file holds. Exit code 2 where there is no such study, a run drives it, or no file can be made."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        packed = pack_study(open_existing_database(args.storage), ArtifactStore(args.artifacts), args.study, args.file)
    except (ArtifactError, ConfigError, DatabaseError, PackError, StudyError, StudyLeaseError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write {args.file}: {error.strerror}", file=sys.stderr)
        return 2
    size = args.file.stat().st_size / 1e6
    print(f"{args.file}: {packed.n_trials} trials of {packed.study_name}, {packed.n_files} files, {size:.1f} MB")
    return 0


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m search.pack", description="Writes a study to one file that goes on elsewhere.")
    parser.add_argument("study", help="name of the study")
    parser.add_argument("file", type=Path, help="to write, such as dsc4.zip")
    add_storage_option(parser)
    add_artifacts_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
