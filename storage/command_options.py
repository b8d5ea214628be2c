"""The options that several commands have, and the kinds of number that they take."""

from __future__ import annotations

import argparse
from pathlib import Path

from storage.artifacts import DEFAULT_ARTIFACTS_FOLDER
from storage.database import DEFAULT_DATABASE_URL
from storage.environment_variables import FINN_VARIABLE


def add_storage_option(parser: argparse.ArgumentParser, *aliases: str) -> None:
    """--storage, the URL of the database."""
    parser.add_argument(
        "--storage", *aliases, default=DEFAULT_DATABASE_URL, metavar="URL", help="database (%(default)s)"
    )


def add_artifacts_option(parser: argparse.ArgumentParser, what: str = "folder of weights") -> None:
    """--artifacts, the folder of the files that the database names; `what` says what this command has there."""
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ARTIFACTS_FOLDER, metavar="DIR", help=f"{what} (%(default)s)"
    )


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Study, trial and --stage, which name one network of a database, then --storage and --artifacts."""
    parser.add_argument("study", help="name of the study")
    parser.add_argument("trial", type=int, help="number of a trial with points: complete, or stopped after a stage")
    add_stage_option(parser, "the last one")
    add_storage_option(parser)
    add_artifacts_option(parser)


def add_finn_option(parser: argparse.ArgumentParser) -> None:
    """--finn, an existing FINN."""
    parser.add_argument(
        "--finn",
        metavar="PYTHON|IMAGE",
        help="an existing FINN+: the path of its python, docker://IMAGE or podman://IMAGE, instead of the environment "
        f"that is made here; {FINN_VARIABLE} says the same",
    )


def parse_count(text: str) -> int:
    """An option's whole number from 1; for `type=` of argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text}; expected a whole number from 1")
    return int(text)


def add_stage_option(parser: argparse.ArgumentParser, default: str) -> None:
    """--stage: a number, or None where it is not given; `default` says what that means."""
    parser.add_argument(
        "--stage", type=int, metavar="N", help=f"stage of the trial, 0 is training and 1, 2, ... prune ({default})"
    )
