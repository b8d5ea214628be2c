"""A whole study as text and tables: progress, constraints, front, builds."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.text_table import TextTable
from search.measured_trials import MeasuredTrial
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
    n_infeasible = sum(not report.is_feasible(trial) for trial in report.trials)
    infeasible = f" ({n_infeasible} of them infeasible)" if report.constraints else ""
    return f"{counts.complete} trials complete{infeasible}, {counts.pruned} could not be built, {counts.failed} failed"


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
            f"{sum(bound.holds(trial) for trial in report.trials)} of {len(report.trials)}",
        )
        for bound in report.constraints
    ]
    return TextTable(("constraint", "bound", "trials that keep it"), tuple(rows))


def front_table(report: StudyReport, *, with_architecture: bool) -> TextTable:
    """The front in its order, with FINN's estimates where the study asks for hardware."""
    hardware = HARDWARE_METRICS if report.asks_for_hardware else ()
    header = ["trial", "accuracy", "reaches threshold", *(metric.column for metric in hardware)]
    header += [INFERENCE_COST.title, "bit-ops", "weight bits", "parameters"]
    rows = [_front_row(trial, report.threshold, hardware) for trial in report.front]
    if with_architecture:
        header.append("architecture")
        rows = [(*row, trial.design.architecture_id) for row, trial in zip(rows, report.front, strict=True)]
    return TextTable(tuple(header), tuple(rows))


def builds_table(builds: Sequence[Build]) -> TextTable:
    """The builds in the order they were queued. BUILD_COUNTS_REMARK explains their counts."""
    columns = ("trial", "state", "level", "board", "clock ns", LUT.title, BRAM.title, "URAM", DSP.title)
    header = (*columns, THROUGHPUT.column, LATENCY.title, "test accuracy")
    return TextTable(header, tuple(_build_row(build) for build in builds))


def _front_row(trial: MeasuredTrial, threshold: float, hardware: Sequence[Metric]) -> tuple[str, ...]:
    return (
        str(trial.trial_number),
        ACCURACY.number(trial.accuracy),
        "yes" if trial.accuracy >= threshold else "no",
        *(metric.number(metric.read(trial)) for metric in hardware),
        INFERENCE_COST.number(trial.inference_cost),
        f"{trial.cost.bit_ops:,.0f}",
        f"{trial.cost.weight_bits:,.0f}",
        f"{trial.cost.parameters:,}",
    )


def _build_row(build: Build) -> tuple[str, ...]:
    report = build.report
    numbers: tuple[str, ...] = ("",) * 6
    if report is not None:
        total = report.total
        counts = (f"{count:,}" for count in (total.lut, total.bram_18k, total.uram, total.dsp))
        numbers = (*counts, THROUGHPUT.number(report.throughput_fps), LATENCY.number(report.latency_us))
    return (
        str(build.trial_number),
        build.state.value,
        "" if build.level is None else build.level.value,
        build.target.board,
        f"{build.target.clk_period_ns:g}",
        *numbers,
        "" if build.test_accuracy is None else f"{build.test_accuracy:.2%}",
    )
