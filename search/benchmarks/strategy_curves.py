"""What replayed strategies found over the epochs they trained: the curves, their table, and their plot."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from search.benchmarks.pictures import make_figure, save_figure
from search.pareto import hypervolume
from storage.artifacts import write_text_atomically

REFERENCE = (1 / 24, 0.03)
"""Accuracy of a guess, and a cost above that of all designs."""

README = Path(__file__).parents[1] / "README.md"

PLOT = Path(__file__).with_name("strategies.png")

SECTION = ("<!-- written by strategy_benchmark replay -->", "<!-- until here -->")

Curves = Mapping[str, Sequence[Sequence[float]]]
"""Of each strategy, for each seed, the hypervolume at each number of epochs."""


@dataclass
class Trace:
    """What one run of a strategy trained, and what it found when."""

    epochs: int = 0
    found: list[tuple[int, float, float]] = field(default_factory=list)
    """Epochs trained by then, accuracy, inference cost."""

    def add(self, accuracy: float, inference_cost: float) -> None:
        """A point that is known now."""
        self.found.append((self.epochs, accuracy, inference_cost))

    @property
    def points(self) -> list[tuple[float, float]]:
        """All that was found, as accuracy and cost."""
        return [(accuracy, cost) for _, accuracy, cost in self.found]


def measure_curve(trace: Trace, at: Sequence[int]) -> list[float]:
    """The hypervolume of what was found by each of these numbers of epochs."""
    curve = []
    for epochs in at:
        points = [(accuracy, math.log10(cost)) for spent, accuracy, cost in trace.found if spent <= epochs]
        corner = REFERENCE[0], math.log10(REFERENCE[1])
        curve.append(hypervolume(points, corner, ("maximize", "minimize")))
    return curve


def find_epochs(curve: Sequence[float], at: Sequence[int], volume: float) -> int | None:
    """The first of these numbers of epochs at which the curve has the volume; None where it never does."""
    return next((epochs for epochs, value in zip(at, curve, strict=True) if value >= volume), None)


def format_table(curves: Curves, at: Sequence[int], opponents: Sequence[str]) -> str:
    """Of each strategy the final volume, and the epochs to the final volume of each opponent, with their share."""
    volumes = {name: _end(curves[name]) for name in opponents}
    n_seeds = len(curves[opponents[0]])
    lines = [
        f"| strategy | hypervolume after {at[-1]} epochs, quartiles of {n_seeds} seeds | "
        + " | ".join(f"epochs to {name}'s {volume:.4f} | share" for name, volume in volumes.items())
        + " |",
        f"|---|--:|{'--:|--:|' * len(volumes)}",
    ]
    for name, several in curves.items():
        low, middle, high = quartiles([curve[-1] for curve in several])
        needed = [_describe_epochs(several, at, volume) for volume in volumes.values()]
        lines.append(f"| {name} | {middle:.4f} ({low:.4f} to {high:.4f}) | {' | '.join(needed)} |")
    return "\n".join(lines)


def find_best(curves: Curves, names: Collection[str]) -> str:
    """Of these strategies the one whose median is highest at the end."""
    return max(names, key=lambda name: _end(curves[name]))


def plot(curves: Curves, at: Sequence[int], peers: Collection[str], opponent: str, path: Path = PLOT) -> None:
    """Median and quartiles over epochs, peers dashed, with the opponent's end as a line."""
    figure = make_figure(9, 5)
    axes = figure.add_subplot(xlabel="epochs trained", ylabel="hypervolume: accuracy x decades of inference cost")
    for name, several in curves.items():
        low, middle, high = np.quantile(np.array(several), [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(at, middle, linestyle="--" if name in peers else "-", label=name)
        axes.fill_between(at, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.axhline(_end(curves[opponent]), color="gray", linewidth=0.8)
    axes.annotate(f"{opponent} at its end", (at[0] / 2, _end(curves[opponent])), va="bottom", color="gray")
    axes.set_xlim(0, at[-1])
    axes.set_ylim(bottom=min(float(np.median(np.array(several)[:, len(at) // 10])) for several in curves.values()))
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, path)


def find_section(path: Path = README) -> tuple[str, str]:
    """What stands before and behind the section, with its two comments; raises ValueError where one is missing."""
    before, begin, rest = path.read_text().partition(SECTION[0])
    _, end, after = rest.partition(SECTION[1])
    if not end:
        raise ValueError(f"{path} has no line {SECTION[0]} with {SECTION[1]} after it")
    return f"{before}{begin}\n", f"\n{end}{after}"


def write_section(text: str, path: Path = README) -> None:
    """Replaces what stands between the two comments."""
    before, after = find_section(path)
    write_text_atomically(path, f"{before}{text}{after}")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first, the median and the third, each one of the values."""
    low, middle, high = np.quantile(np.array(values), [0.25, 0.5, 0.75], method="nearest")
    return float(low), float(middle), float(high)


def _end(several: Sequence[Sequence[float]]) -> float:
    """The median over the seeds at the end."""
    return quartiles([curve[-1] for curve in several])[1]


def _describe_epochs(several: Sequence[Sequence[float]], at: Sequence[int], volume: float) -> str:
    """Two cells: quartiles of the epochs to this volume, and their median's share of all."""
    low, middle, high = quartiles([find_epochs(curve, at, volume) or math.inf for curve in several])
    if math.isinf(middle):
        return "not reached | "
    upper = "not reached" if math.isinf(high) else f"{high:.0f}"
    return f"{middle:.0f} ({low:.0f} to {upper}) | {middle / at[-1]:.2f}"
