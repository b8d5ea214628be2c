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


def format_table(curves: Curves, at: Sequence[int], peers: Collection[str]) -> str:
    """Of each strategy the final volume, and the epochs to the best peer's."""
    best, volume = _find_best(curves, peers)
    lines = [
        f"| strategy | hypervolume after {at[-1]} epochs, quartiles | epochs to {best}'s {volume:.4f} | share |",
        "|---|--:|--:|--:|",
    ]
    for name, several in curves.items():
        volumes = quartiles([curve[-1] for curve in several])
        needed = quartiles([find_epochs(curve, at, volume) or math.inf for curve in several])
        epochs = "never" if math.isinf(needed[1]) else f"{needed[1]:.0f} ({needed[0]:.0f} to {needed[2]:.0f})"
        share = "" if math.isinf(needed[1]) else f"{needed[1] / at[-1]:.2f}"
        lines.append(f"| {name} | {volumes[1]:.4f} ({volumes[0]:.4f} to {volumes[2]:.4f}) | {epochs} | {share} |")
    return "\n".join(line.replace("inf", "never") for line in lines)


def plot(curves: Curves, at: Sequence[int], peers: Collection[str], shown: Collection[str], path: Path = PLOT) -> None:
    """Median and quartiles of these strategies over epochs, with the best peer's end as a line."""
    best, volume = _find_best(curves, peers)
    figure = make_figure(9, 5)
    axes = figure.add_subplot(xlabel="epochs trained", ylabel="hypervolume: accuracy x decades of inference cost")
    for name in shown:
        low, middle, high = np.quantile(np.array(curves[name]), [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(at, middle, linestyle="--" if name in peers else "-", label=name)
        axes.fill_between(at, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.axhline(volume, color="gray", linewidth=0.8)
    axes.annotate(f"{best} at its end", (at[-1], volume), ha="right", va="bottom", color="gray")
    axes.set_xlim(0, at[-1])
    low = min(float(np.median(np.array(curves[name])[:, len(at) // 10])) for name in shown)
    axes.set_ylim(bottom=low)
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, path)


def write_section(text: str, path: Path = README) -> None:
    """Replaces what stands between the two comments of a README."""
    before, _, rest = path.read_text().partition(SECTION[0])
    _, end, after = rest.partition(SECTION[1])
    assert end, f"{path} has no line {SECTION[0]} with {SECTION[1]} after it"
    write_text_atomically(path, f"{before}{SECTION[0]}\n{text}\n{SECTION[1]}{after}")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first, the median and the third, each one of the values."""
    low, middle, high = np.quantile(np.array(values), [0.25, 0.5, 0.75], method="nearest")
    return float(low), float(middle), float(high)


def _find_best(curves: Curves, peers: Collection[str]) -> tuple[str, float]:
    """The peer whose median is highest at the end, and that median."""
    finals = {name: quartiles([curve[-1] for curve in several])[1] for name, several in curves.items()}
    best = max((name for name in curves if name in peers), key=finals.__getitem__)
    return best, finals[best]
