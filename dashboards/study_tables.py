"""A whole study as text and tables: progress, constraints, front, builds."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.text_table import TextTable
from search.measured_trials import MeasuredPoint
from search.reports.lineage import LINEAGE_HEADER, lineage_cells, list_lineage
from search.reports.study_report import StudyReport
from spaces.metrics import ACCURACY, BRAM, DSP, HARDWARE_METRICS, INFERENCE_COST, LATENCY, LUT, THROUGHPUT, Metric
from spaces.study_config import StudyConfig
from storage.records import Build

BUILD_COUNTS_REMARK = (
    "LUT, BRAM18, URAM and DSP of a build are with FIFOs and width converters. "
    "Old reports without these have layers only."
)


def finished_trials(report: StudyReport) -> str:
    """How many trials are complete, infeasible, stopped and failed."""
    counts = report.counts
    infeasible = f" ({report.n_infeasible} of them infeasible)" if report.constraints else ""
    return f"{counts.complete} trials complete{infeasible}, {counts.describe_others()}"


def hardware_target(config: StudyConfig) -> str:
    """Board, clock and frames/s of the estimates."""
    fpga = config.fpga
    return f"{fpga.board}, {fpga.clk_period_ns:g} ns, folded for {fpga.target_fps:,} frames/s"


def constraints_table(report: StudyReport) -> TextTable:
    """Each constraint with its bound, and how many complete trials keep it."""
    rows = [
        (
            bound.metric.label,
            bound.describe_bound(),
            f"{sum(bound.holds(trial.last) for trial in report.complete_trials)} of {len(report.complete_trials)}",
        )
        for bound in report.constraints
    ]
    return TextTable(("constraint", "bound", "trials that keep it"), tuple(rows))


def front_table(report: StudyReport, *, with_architecture: bool) -> TextTable:
    """The front in its order, with FINN's estimates where the study asks for hardware.

    Has a column of stages where a trial of the study has several.
    """
    hardware = HARDWARE_METRICS if report.asks_for_hardware else ()
    header = [*_name_columns(report), "accuracy", "reaches threshold", *(metric.column for metric in hardware)]
    header += [INFERENCE_COST.title, "bit-ops", "weight bits", "parameters"]
    rows = [_front_row(report, point, hardware) for point in report.front]
    if with_architecture:
        header.append("architecture")
        rows = [(*row, point.architecture.architecture_id) for row, point in zip(rows, report.front, strict=True)]
    return TextTable(tuple(header), tuple(rows))


def lineage_table(report: StudyReport) -> TextTable:
    """A staged campaign as a tree of networks; those that were handed on are marked."""
    rows = list_lineage(report)
    marked = [index for index, row in enumerate(rows) if row.is_chosen]
    return TextTable(LINEAGE_HEADER, tuple(lineage_cells(row) for row in rows), marked)


def builds_table(report: StudyReport) -> TextTable:
    """The builds in the order they were queued. BUILD_COUNTS_REMARK explains their counts."""
    columns = (
        *_name_columns(report),
        "state",
        "level",
        "board",
        "clock ns",
        "frames/s asked",
        LUT.title,
        BRAM.title,
        "URAM",
        DSP.title,
    )
    header = (*columns, THROUGHPUT.column, LATENCY.title, "test accuracy")
    return TextTable(header, tuple(_build_row(report, build) for build in report.builds))


def _name_columns(report: StudyReport) -> tuple[str, ...]:
    return ("trial", "stage") if report.has_stages else ("trial",)


def _name_cells(report: StudyReport, trial_number: int, stage: int) -> tuple[str, ...]:
    return (str(trial_number), str(stage)) if report.has_stages else (str(trial_number),)


def _front_row(report: StudyReport, point: MeasuredPoint, hardware: Sequence[Metric]) -> tuple[str, ...]:
    return (
        *_name_cells(report, point.trial_number, point.stage),
        ACCURACY.number(point.accuracy),
        "yes" if report.reaches_threshold(point) else "no",
        *(metric.number(metric.read(point)) for metric in hardware),
        INFERENCE_COST.number(point.inference_cost),
        f"{point.cost.bit_ops:,.0f}",
        f"{point.cost.weight_bits:,.0f}",
        f"{point.cost.parameters:,}",
    )


def _build_row(report: StudyReport, build: Build) -> tuple[str, ...]:
    built = build.report
    numbers: tuple[str, ...] = ("",) * 6
    if built is not None:
        total = built.total
        counts = (f"{count:,}" for count in (total.lut, total.bram_18k, total.uram, total.dsp))
        numbers = (*counts, THROUGHPUT.number(built.throughput_fps), LATENCY.number(built.latency_us))
    return (
        *_name_cells(report, build.trial_number, build.stage),
        build.state.value,
        "" if build.level is None else build.level.value,
        build.target.board,
        f"{build.target.clk_period_ns:g}",
        f"{build.target.target_fps:,}",
        *numbers,
        "" if build.test_accuracy is None else f"{build.test_accuracy:.2%}",
    )
