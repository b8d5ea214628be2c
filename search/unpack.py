"""Puts a study that search.pack wrote into the database: `python -m search.unpack FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna

from search.packing import PackError, open_pack, unpack_study
from search.study import StudyError
from storage.artifacts import ArtifactError, ArtifactStore
from storage.command_options import add_artifacts_option, add_storage_option
from storage.commands import make_parser, run_command
from storage.database import DatabaseError, open_database
from storage.leases import StudyLeaseError


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was unpacked. Exit code 2 where the file holds no study, or the database has one of its name."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        store = ArtifactStore(args.artifacts)
        store.check_can_write()
        with open_pack(args.file) as archive:
            unpacked = unpack_study(archive, open_database(args.storage), store)
    except (ArtifactError, DatabaseError, PackError, StudyError, StudyLeaseError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write into {args.artifacts}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{unpacked.study_name}: {unpacked.n_trials} trials, {unpacked.n_files} files; search.run goes on with it")
    return 0


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m search.unpack", description="Puts a packed study into the database.")
    parser.add_argument("file", type=Path, help="that search.pack wrote")
    add_storage_option(parser)
    add_artifacts_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
