"""A study's report for people: tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from search.reports.lineage import LINEAGE_CAPTION, LINEAGE_HEADER, lineage_cells, list_lineage
from search.reports.paper_table import PAPER_HEADER, find_paper_table, list_paper_rows
from search.reports.study_report import StudyReport
from spaces.metrics import BRAM, DSP, HARDWARE_METRICS, INFERENCE_COST, LATENCY, LUT, THROUGHPUT
from spaces.papers import PaperTable
from storage.records import Build

ANY_WIDTH = 10_000
"""More columns than a table needs: a pipe has no right edge."""

BUILD_METRICS = (LUT, BRAM, DSP, THROUGHPUT, LATENCY)
"""With data width converters and FIFOs, as in the front."""


class _Console(Console):
    """Rich's own would end the process with exit code 1 where nobody reads on."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console() -> Console:
    """On this stdout, whatever libraries redirect later. Without a terminal, wide enough for any table."""
    console = _Console(file=sys.stdout)
    return console if console.is_terminal else _Console(file=sys.stdout, width=ANY_WIDTH)


def print_tables(report: StudyReport, console: Console) -> None:
    """The front, the builds, and why some of them stopped."""
    print_table(front_as_table(report), console)
    if report.campaign:
        print_table(lineage_as_table(report), console)
    if (paper := find_paper_table(report)) is not None:
        print_table(paper_as_table(paper, report), console)
    if report.builds:
        print_table(builds_as_table(report), console)
    for line in describe_stops(report.builds):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_table(table: Table, console: Console) -> None:
    """The table, or on a console that is too narrow for it one line for each row: no number is cut."""
    options = console.options.update(width=ANY_WIDTH)
    if Measurement.get(console, options, table).maximum <= console.width:
        console.print(table)
        return
    for line in (str(table.title), *rows_as_lines(table), str(table.caption)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def rows_as_lines(table: Table) -> list[str]:
    """One line for each row; each cell has its column's name before it."""
    titles = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return [
        "; ".join(f"{title} {str(cell).strip()}" for title, cell in zip(titles, row, strict=True) if str(cell).strip())
        for row in rows
    ]


def front_as_table(report: StudyReport) -> Table:
    """The front, with what the study is about. A star marks networks that reach the threshold."""
    table = Table(title=f"{report.study_name}: the front", title_justify="left")
    metrics = (INFERENCE_COST, *HARDWARE_METRICS) if report.asks_for_hardware else (INFERENCE_COST,)
    others = () if report.asks_for_hardware else ("bit_ops", "weight_bits", "parameters")
    for column in (*_name_columns(report), "accuracy", *(metric.column for metric in metrics)):
        table.add_column(column, justify="right")
    for name in others:
        table.add_column({"bit_ops": "bit-ops"}.get(name, name.replace("_", " ")), justify="right")
    for point in report.front:
        mark = "*" if report.reaches_threshold(point) else " "
        table.add_row(
            *_name_cells(report, point.trial_number, point.stage),
            f"{point.accuracy:.2%}{mark}",
            *(metric.number(metric.read(point)) for metric in metrics),
            *(f"{getattr(point.cost, name):,.0f}" for name in others),
        )
    table.caption = _caption(report)
    return table


def lineage_as_table(report: StudyReport) -> Table:
    """A staged campaign as a tree of networks."""
    table = Table(title="stages of the campaign", title_justify="left")
    for name in LINEAGE_HEADER:
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=name == "network")
    for row in list_lineage(report):
        table.add_row(*lineage_cells(row))
    table.caption = LINEAGE_CAPTION
    return table


def paper_as_table(paper: PaperTable, report: StudyReport) -> Table:
    """What was published, and what the study measured on validation frames."""
    table = Table(title=f"{paper.title}, and here", title_justify="left")
    for name in PAPER_HEADER:
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=name == "network")
    for row in list_paper_rows(paper, report):
        table.add_row(*row.cells)
    table.caption = f"{paper.source}. Here: validation frames of this study's data, mean and standard error"
    return table


def builds_as_table(report: StudyReport) -> Table:
    """The builds, with FINN's estimates. A star marks networks that reach the threshold."""
    table = Table(title="FINN builds (estimates)", title_justify="left")
    titles = (metric.column for metric in BUILD_METRICS)
    asked = ("board", "frames/s asked")
    for column in (*_name_columns(report), "state", "level", *asked, "LUT, layers only", *titles, "same class"):
        table.add_column(column, justify="right")
    for build in report.builds:
        name = _name_cells(report, build.trial_number, build.stage, " " if build.is_below_threshold else "*")
        level = build.level.value if build.level else ""
        target = build.target.board, f"{build.target.target_fps:,}"
        table.add_row(*name, build.state.value, level, *target, *_report_cells(build))
    table.caption = f"* reaches {report.threshold:.2%}"
    return table


def describe_stops(builds: Sequence[Build]) -> list[str]:
    """One line for each build that failed or stopped early: which, and why."""
    failed = [f"build of {build.network}: {build.message}" for build in builds if build.message]
    stopped = [
        f"build of {build.network} stopped at {build.level.value}: {build.level_note}"
        for build in builds
        if build.level and build.level_note and not build.message
    ]
    return failed + stopped


def _name_columns(report: StudyReport) -> tuple[str, ...]:
    return ("trial", "stage") if report.has_stages else ("trial",)


def _name_cells(report: StudyReport, trial_number: int, stage: int, mark: str = "") -> tuple[str, ...]:
    return (f"{trial_number}{mark}", str(stage)) if report.has_stages else (f"{trial_number}{mark}",)


def _caption(report: StudyReport) -> str:
    parts = [f"* reaches {report.threshold:.2%}", f"hypervolume {report.hypervolume:.4f}"]
    if report.constraints:
        bounds = " and ".join(map(str, report.constraints))
        parts.append(f"{report.n_infeasible} of {len(report.complete_trials)} trials break {bounds}")
    return "; ".join(parts)


def _report_cells(build: Build) -> list[str]:
    report = build.report
    if report is None:
        return []
    estimate = report.as_estimate()
    return [
        LUT.number(report.lut),
        *(metric.number(metric.read_field(estimate)) for metric in BUILD_METRICS),
        f"{report.n_classes_equal} of {report.n_frames_verified}",
    ]
