"""A paper's table beside what a study measured of the same networks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from search.measured_trials import MeasuredPoint
from search.reports.study_report import StudyReport
from spaces.papers import PAPER_TABLES, PaperTable, Published

PAPER_HEADER = ("network", "published", "here", "trainings", "published cost", "cost here")


@dataclass(frozen=True)
class PaperRow:
    """One row: what was published, and the networks of the study that belong to it."""

    label: str
    published: Published
    points: tuple[MeasuredPoint, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """Under `PAPER_HEADER`: accuracies in percent, ours with the standard error of their mean."""
        own = [100 * point.accuracy for point in self.points]
        costs = [point.inference_cost for point in self.points]
        accuracy, cost = self.published.accuracy, self.published.inference_cost
        return (
            self.label,
            "" if accuracy is None else f"{accuracy:.2%}",
            _format_mean(own),
            str(len(own)) if own else "",
            "" if cost is None else f"{cost:.4f}",
            f"{statistics.mean(costs):.4f}" if costs else "",
        )


def find_paper_table(report: StudyReport) -> PaperTable | None:
    """The table that the study file names."""
    return None if report.paper is None else PAPER_TABLES[report.paper]


def list_paper_rows(table: PaperTable, report: StudyReport) -> list[PaperRow]:
    """All rows of the paper's table, in its order. A network that was copied from another trial counts once."""
    points = [point for trial in report.trials if trial.copied_from is None for point in trial.points]
    labels = [table.label(point.design, point.stage) for point in points]
    return [
        PaperRow(name, published, tuple(p for p, label in zip(points, labels, strict=True) if label == name))
        for name, published in table.rows.items()
    ]


def _format_mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):.2f}%"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"
