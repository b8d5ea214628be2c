"""The command `python -m search.report STUDY [--json]`: what a study has found so far, for people or programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import optuna

from search.reports.formats import report_as_json
from search.reports.study_report import StudyReport, load_study_report
from search.reports.tables import open_console, print_tables
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.command_options import add_storage_option
from storage.commands import make_parser, run_command
from storage.database import DatabaseError, open_existing_database


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; exit code 2 where the database or the study cannot be read."""
    parser = make_parser(prog="python -m search.report", description="What a study has found so far.")
    parser.add_argument("study", help="name of the study")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_storage_option(parser)
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        report = load_study_report(open_existing_database(args.storage), args.study)
    except (ConfigError, DatabaseError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(report_as_json(report)))
    else:
        print_report(report)
    return 0


def print_report(report: StudyReport) -> None:
    """Counts, front and builds on the terminal."""
    console, counts = open_console(), report.counts
    console.print(
        f"{report.study_name}: {counts.complete} trials complete, {counts.running} running, {counts.describe_others()}"
    )
    print_tables(report, console)


if __name__ == "__main__":
    run_command(main)
