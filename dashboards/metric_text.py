"""Figures of networks in words: named, with their units, and against their bounds."""

from __future__ import annotations

from collections.abc import Sequence

from search.objectives import Constraint, Objective, format_figure
from search.report import TrialReport
from storage.records import HardwareEstimate, Resources

NAMES = {
    "accuracy": "accuracy",
    "inference_cost": "inference cost η",
    "lut": "LUT",
    "dsp": "DSP",
    "bram": "BRAM18",
    "throughput_fps": "throughput",
    "latency_us": "latency",
}
"""Of all objectives and constraints."""

UNITS = {"throughput_fps": " frames/s", "latency_us": " µs"}

DIRECTION_WORDS = {"maximize": "higher is better", "minimize": "lower is better"}


def figure_text(name: str, value: float) -> str:
    """The value with its unit; the figures of BRAM are blocks of 18 Kb."""
    number = f"{value:.4g}" if name == "inference_cost" else format_figure(name, value)
    return number + UNITS.get(name, "")


def objective_text(objective: Objective) -> str:
    """Which way it goes, such as "LUT (lower is better)"."""
    return f"{NAMES[objective.name]} ({DIRECTION_WORDS[objective.direction]})"


def bound_text(constraint: Constraint) -> str:
    """Such as "at least 100,000 frames/s"."""
    words = "at most" if constraint.at_least is None else "at least"
    return f"{words} {figure_text(constraint.name, constraint.bound)}"


def constraint_text(constraint: Constraint) -> str:
    """Such as "throughput at least 100,000 frames/s"."""
    return f"{NAMES[constraint.name]} {bound_text(constraint)}"


def holds(constraint: Constraint, trial: TrialReport) -> bool:
    """Whether the trial keeps the bound."""
    return constraint.excess(trial.value(constraint.name)) <= 0


def missed_bounds(trial: TrialReport, constraints: Sequence[Constraint]) -> list[str]:
    """One text for each constraint that the trial does not keep: what it has, and what was asked for."""
    return [
        f"{NAMES[bound.name]} {figure_text(bound.name, trial.value(bound.name))}, {bound_text(bound)} asked for"
        for bound in constraints
        if not holds(bound, trial)
    ]


def resources_text(resources: Resources | HardwareEstimate) -> str:
    """LUT, BRAM18, URAM where there are any, and DSP in one line."""
    uram = f"{resources.uram:,} URAM, " if resources.uram else ""
    return f"{resources.lut:,} LUT, {resources.bram_18k:,} BRAM18, {uram}{resources.dsp:,} DSP"


def speed_text(throughput_fps: float, latency_us: float) -> str:
    """Throughput and latency in one line."""
    return f"{throughput_fps:,.0f} frames/s, {latency_us:,.1f} µs"


def count_with_share(count: int, available: int) -> str:
    """A count and, where it is above 0 and so is what the board has, the share of the board."""
    return f"{count:,} ({count / available:.1%})" if available and count else f"{count:,}"
