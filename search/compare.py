"""Networks of a study side by side: `python -m search.compare STUDY 3 9 11`. What differs is marked."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from rich.table import Table

from search.measured_trials import MeasuredPoint
from search.reports.study_report import StudyReport, load_study_report
from search.reports.tables import open_console, print_table
from search.stored_point import find_point
from search.study import StudyError
from search.study_changes import flatten_values
from spaces.metrics import HARDWARE_METRICS
from spaces.study_config import ConfigError
from storage.command_options import add_storage_option
from storage.commands import make_parser, run_command
from storage.database import DatabaseError, open_existing_database

SNRS_SHOWN = (-10, -4, 0, 4, 10, 20, 30)

MARK = "≠"


@dataclass(frozen=True)
class ComparedRow:
    """One property of all networks."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether not all networks have the same value."""
        return len(set(self.values)) > 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; exit code 2 where the study or one of the trials is not there."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        report = load_study_report(open_existing_database(args.storage), args.study)
        points = [find_point(report, number, stage) for number, stage in args.trials]
    except (ConfigError, DatabaseError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    rows = compare_points(report, points)
    if args.json:
        print(json.dumps({"networks": [p.name for p in points], "rows": [[row.name, *row.values] for row in rows]}))
        return 0
    print_table(rows_as_table(report.study_name, points, rows), open_console())
    return 0


def compare_points(report: StudyReport, points: Sequence[MeasuredPoint]) -> list[ComparedRow]:
    """What was measured of each, then those values of their designs that are not the same in all."""
    measures: dict[str, Callable[[MeasuredPoint], str]] = {
        "accuracy": lambda point: f"{point.accuracy:.2%}",
        "95 % interval": lambda point: "{:.2%} to {:.2%}".format(*report.judge(point).interval),
        "trainings": lambda point: str(report.judge(point).n_trainings),
        "inference cost": lambda point: f"{point.inference_cost:.6f}",
        "bit operations": lambda point: f"{point.cost.bit_ops:,.0f}",
        "weight bits": lambda point: f"{point.cost.weight_bits:,.0f}",
        "parameters": lambda point: f"{point.cost.parameters:,}",
        "epochs": lambda point: str(point.evaluation.epochs),
        "on the front": lambda point: "yes" if point.key in {other.key for other in report.front} else "no",
    }
    if report.asks_for_hardware:
        measures |= {
            metric.column: lambda point, metric=metric: metric.number(metric.read(point))  # type: ignore[misc]
            for metric in HARDWARE_METRICS
        }
    rows = [ComparedRow(name, tuple(map(read, points))) for name, read in measures.items()]
    for snr in SNRS_SHOWN:
        accuracies = [point.evaluation.accuracy_by_snr.get(snr) for point in points]
        if None not in accuracies:
            rows.append(ComparedRow(f"accuracy at {snr:+d} dB", tuple(f"{value:.1%}" for value in accuracies)))
    return rows + [row for row in _compare_designs(points) if row.differs]


def rows_as_table(study_name: str, points: Sequence[MeasuredPoint], rows: Sequence[ComparedRow]) -> Table:
    """As a person reads it."""
    table = Table(title=f"{study_name}: {len(points)} networks", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("property", no_wrap=True)
    for point in points:
        table.add_column(point.name, justify="right")
    for row in rows:
        table.add_row(MARK if row.differs else "", row.name, *row.values)
    table.caption = f"{MARK} differs; values of the designs that are the same in all are left out"
    return table


def _compare_designs(points: Sequence[MeasuredPoint]) -> list[ComparedRow]:
    designs = [_flatten(point) for point in points]
    names = dict.fromkeys(name for design in designs for name in design)
    return [ComparedRow(name, tuple(_show(design.get(name)) for design in designs)) for name in names]


def _flatten(point: MeasuredPoint) -> Mapping[str, object]:
    content = point.design.model_dump(mode="json", exclude={"parent"})
    return {
        re.sub(r"^architecture\.blocks\[(\d+)\]\.", r"block \1: ", name).replace("_", " "): value
        for name, value in flatten_values(content)
    }


def _show(value: object) -> str:
    return "" if value is None else str(value)


def _parse_network(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"it is {text}; expected TRIAL or TRIAL:STAGE, such as 9 or 9:1")
    return int(match[1]), None if match[2] is None else int(match[2])


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("python -m search.compare", "Networks of a study side by side.")
    parser.add_argument("study", help="name of the study")
    parser.add_argument(
        "trials", nargs="+", type=_parse_network, metavar="TRIAL[:STAGE]", help="each after its last stage, or this one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_storage_option(parser)
    args = parser.parse_args(arguments)
    if len(args.trials) < 2:
        parser.error("one trial is given; expected at least two")
    return args


if __name__ == "__main__":
    run_command(main)
