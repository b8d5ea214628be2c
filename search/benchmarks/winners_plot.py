"""The picture of a campaign: all networks that it measured, and its winners beside BacalhauNet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from search.benchmarks.pictures import make_figure, save_figure
from search.pareto import rank_fronts
from search.reports.study_report import StudyReport
from storage.records import Evaluation

Curves = dict[str, Sequence[Sequence[Evaluation]]]
"""Of each network, for each seed, the evaluations of its stages. The first one is the baseline."""


def plot_winners(report: StudyReport, curves: Curves, path: Path) -> None:
    """Validation accuracy against inference cost: points of one training, and means with their standard errors."""
    figure = make_figure(9, 5.5)
    axes = figure.add_subplot(xlabel="inference cost (log)", ylabel="validation accuracy, %", xscale="log")
    costs, accuracies = zip(*[(p.inference_cost, 100 * p.accuracy) for p in report.points], strict=True)
    axes.scatter(costs, accuracies, s=14, color="lightgray", label=f"{report.study_name}, {len(costs)} networks")
    ranks = rank_fronts(list(zip(accuracies, costs, strict=True)), ("maximize", "minimize"))
    front = sorted((cost, accuracy) for cost, accuracy, rank in zip(costs, accuracies, ranks, strict=True) if rank == 0)
    axes.step(*zip(*front, strict=True), where="post", color="gray", linewidth=1, label="its front, one training each")
    for number, (name, trainings) in enumerate(curves.items()):
        means = [_summarize(stage) for stage in zip(*trainings, strict=True)]
        cost, accuracy, error = zip(*(means if number == 0 else means[-1:]), strict=True)
        axes.errorbar(
            cost,
            accuracy,
            yerr=error,
            marker="s" if number == 0 else "o",
            capsize=3,
            label=f"{name}, {len(trainings)} seeds",
        )
    axes.set_ylim(bottom=min(accuracy for _, accuracy in front) - 1)
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, path)


def _summarize(stage: Sequence[Evaluation]) -> tuple[float, float, float]:
    """Mean cost, mean accuracy in percent, and its standard error."""
    accuracies = [100 * evaluation.accuracy for evaluation in stage]
    error = statistics.stdev(accuracies) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else 0.0
    return statistics.mean(one.cost.inference_cost for one in stage), statistics.mean(accuracies), error
