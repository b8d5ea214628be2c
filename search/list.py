"""The command `python -m search.list`: the studies of a database, how far each is, and its best network."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import optuna
from rich.table import Table

from search.budget import read_limits
from search.optuna_storage import open_optuna_storage
from search.reports.study_report import StudyReport, load_study_report
from search.reports.tables import open_console, print_table
from search.study import StudyError
from spaces.study_config import ConfigError, parse_study_config
from storage.command_options import add_storage_option
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_existing_database
from storage.records import BuildState
from storage.studies import list_studies, load_study_record


@dataclass(frozen=True)
class StudyLine:
    """One study in a line."""

    study: str
    started: str
    """Date, UTC."""
    complete: int
    """Trained to their end, or stopped early."""
    wanted: int
    running: int
    front: int
    """Networks on the front."""
    best: str
    """The best feasible network, or the most accurate one."""
    builds: int
    """Finished ones."""
    problem: str | None = None
    """Why nothing more is known of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; exit code 2 where the database cannot be read."""
    parser = make_parser("python -m search.list", "The studies of a database, the oldest first.")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_storage_option(parser)
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        database = open_existing_database(args.storage)
        lines = [describe_study(database, name) for name in list_studies(database)]
    except DatabaseError as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"studies": [asdict(line) for line in lines]}))
    else:
        print_table(lines_as_table(lines), open_console())
    return 0


def describe_study(database: Database, name: str) -> StudyLine:
    """One study. What cannot be read of it, its line says."""
    record = load_study_record(database, name)
    assert record is not None  # it was listed
    started = f"{record.created_at:%Y-%m-%d}"
    try:
        report = load_study_report(database, name)
        config = parse_study_config(record.text, f"study {name}")
        study = optuna.load_study(study_name=name, storage=open_optuna_storage(database))
        wanted = read_limits(study, config).n_trained
    except (ConfigError, StudyError) as error:
        return StudyLine(name, started, 0, 0, 0, 0, "", 0, str(error).splitlines()[0])
    finished = sum(build.state is BuildState.SUCCEEDED for build in report.builds)
    counts = report.counts
    return StudyLine(
        name, started, counts.trained, wanted, counts.running, len(report.front), _describe_best(report), finished
    )


def lines_as_table(lines: Sequence[StudyLine]) -> Table:
    """As a person reads it."""
    table = Table(title="studies", title_justify="left")
    for column in ("study", "started", "trials", "running", "front", "best network", "builds"):
        table.add_column(column, no_wrap=column == "study")
    for line in lines:
        trials = f"{line.complete} of {line.wanted}" if line.problem is None else ""
        cells = (trials, str(line.running), str(line.front), line.problem or line.best, str(line.builds))
        table.add_row(line.study, line.started, *cells)
    table.caption = "python -m search.report STUDY shows one of them" if lines else "none yet"
    return table


def _describe_best(report: StudyReport) -> str:
    best = report.best_feasible or max(report.front, key=lambda point: point.accuracy, default=None)
    if best is None:
        return "none yet"
    below = "" if report.best_feasible else ", below the threshold"
    return f"{best.name}: {best.accuracy:.2%} at {best.inference_cost:.5f}{below}"


if __name__ == "__main__":
    run_command(main)
