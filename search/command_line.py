"""The options of `python -m search.run`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from search.processes.local_services import FIRST_PORT
from storage.command_options import add_artifacts_option, add_finn_option, add_storage_option, parse_count
from storage.commands import make_parser

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Exits with code 2 and one message where an option is wrong."""
    parser = make_parser(
        prog="python -m search.run",
        description="Searches the space of one study file, promotes the winners and builds them. "
        "The same command again goes on where the study stopped.",
    )
    parser.add_argument("study_file", type=Path, metavar="STUDY.yaml", help="such as spaces/dsc4.yaml")
    add_storage_option(parser)
    add_artifacts_option(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--trials", type=parse_count, metavar="N", help="complete trials in all, instead of budget.trials"
    )
    budget.add_argument("--extend", type=parse_count, metavar="N", help="complete trials on top of those there are")
    parser.add_argument("--time-limit", type=_duration, metavar="10m", help="stop searching after 600s, 10m or 1h")
    parser.add_argument("--local", action="store_true", help="train in this process, without Ray")
    parser.add_argument("--ray-address", metavar="ADDR", help="train on this Ray cluster, such as 10.0.0.1:6379")
    parser.add_argument("--no-build", action="store_true", help="queue builds, but start no build worker here")
    parser.add_argument(
        "--no-estimates",
        action="store_true",
        help="start no estimate worker here: those of other machines are waited for",
    )
    parser.add_argument("--no-dashboard", action="store_true", help="start no dashboard")
    parser.add_argument(
        "--dashboard-port", type=_port, metavar="P", help=f"port of the dashboard (first free one from {FIRST_PORT})"
    )
    parser.add_argument(
        "--check", action="store_true", help="start nothing; print what the study is, and what it would take here"
    )
    add_finn_option(parser)
    args = parser.parse_args(arguments)
    if args.local and args.ray_address:
        parser.error("--local and --ray-address are given; expected one of them")
    return args


def drop_extension(arguments: Sequence[str]) -> list[str]:
    """The arguments without --extend and its value, however they are written."""
    kept, is_value = [], False
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        is_extension = name == "--extend"
        if not (is_extension or is_value):
            kept.append(argument)
        is_value = is_extension and not has_value
    return kept


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"it is {text}; expected 1 to 65535")
    return int(text)


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"it is {text}; expected a number with s, m or h, such as 600s, 10m or 1h")
    return float(match[1]) * UNIT_SECONDS[match[2]]
