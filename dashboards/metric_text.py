"""Metrics of networks in words: named, with their units, and against their bounds."""

from __future__ import annotations

from collections.abc import Sequence

from search.objectives import Constraint, NetworkMetrics, Objective
from spaces.metrics import BRAM, DSP, LATENCY, LUT, THROUGHPUT
from storage.hardware_reports import HardwareEstimate, Resources


def objective_text(objective: Objective) -> str:
    """Name and direction, such as "LUT (lower is better)"."""
    return f"{objective.metric.label} ({objective.metric.goal})"


def missed_bounds(network: NetworkMetrics, constraints: Sequence[Constraint]) -> list[str]:
    """One text for each constraint that the network misses: its value, and the bound."""
    return [
        f"{bound.metric.describe(network)}; expected {bound.describe_bound()}"
        for bound in constraints
        if not bound.holds(network)
    ]


def resources_text(resources: Resources | HardwareEstimate) -> str:
    """LUT, BRAM18, URAM (if any) and DSP in one line."""
    uram = f"{resources.uram:,} URAM, " if resources.uram else ""
    lut, bram, dsp = (f"{metric.number(metric.read_field(resources))} {metric.label}" for metric in (LUT, BRAM, DSP))
    return f"{lut}, {bram}, {uram}{dsp}"


def speed_text(throughput_fps: float, latency_us: float) -> str:
    """Throughput and latency in one line."""
    return f"{THROUGHPUT.text(throughput_fps)}, {LATENCY.text(latency_us)}"


def count_with_share(count: int, available: int) -> str:
    """A count, with its share of the board where both are above 0."""
    return f"{count:,} ({count / available:.1%})" if available and count else f"{count:,}"
