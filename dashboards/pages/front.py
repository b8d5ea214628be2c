"""The page of a study: its front as a plot and as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dashboards.architecture_table import architecture_line
from dashboards.pareto_figure import pareto_front_figure
from dashboards.pareto_front import plot_data
from dashboards.study_tables import builds_table, finished_trials
from dashboards.text_table import table_as_html
from search.measured_trials import MeasuredPoint
from search.objectives import Objective
from search.reports.study_report import StudyReport
from spaces.metrics import ACCURACY, HARDWARE_METRICS, INFERENCE_COST


@dataclass(frozen=True)
class AxisChoice:
    """What the plot's horizontal axis may show."""

    name: str
    label: str
    is_chosen: bool


@dataclass(frozen=True)
class FrontRow:
    """One network of the front."""

    trial: int
    stage: int
    name: str
    values: tuple[str, ...]
    architecture: str


@dataclass(frozen=True)
class FrontView:
    """All that the page shows besides the plot."""

    study: str
    summary: str
    axes: tuple[AxisChoice, ...]
    columns: tuple[str, ...]
    rows: tuple[FrontRow, ...]
    builds: Markup | None


def front_view(report: StudyReport, axis: str | None) -> FrontView:
    """`axis` is the name of a metric; None or an unknown one: the study's second objective."""
    metrics = [ACCURACY, *(objective.metric for objective in _list_axes(report))]
    chosen = _choose_axis(report, axis)
    return FrontView(
        study=report.study_name,
        summary=f"{finished_trials(report)}, {report.counts.running} running. Accuracy threshold "
        f"{report.threshold:.2%}, hypervolume {report.hypervolume:.4f}.",
        axes=tuple(AxisChoice(o.name, o.metric.title, o.name == chosen.name) for o in _list_axes(report)),
        columns=tuple(metric.column for metric in metrics),
        rows=tuple(
            FrontRow(
                point.trial_number,
                point.stage,
                point.name,
                tuple(metric.number(metric.read(point)) for metric in metrics),
                architecture_line(point.architecture),
            )
            for point in report.front
        ),
        builds=table_as_html(builds_table(report)) if report.builds else None,
    )


def front_figure(report: StudyReport, axis: str | None) -> dict[str, Any]:
    """The plot as Plotly takes it; its points have trial and stage as `customdata`."""
    figure: dict[str, Any] = json.loads(pareto_front_figure(plot_data(report, _choose_axis(report, axis))).to_json())
    return {"data": figure["data"], "layout": figure["layout"]}


def _choose_axis(report: StudyReport, name: str | None) -> Objective:
    axes = _list_axes(report)
    return next((objective for objective in axes if objective.name == name), axes[0])


def _list_axes(report: StudyReport) -> tuple[Objective, ...]:
    """The study's own objectives first, then the other metrics that all its networks have."""
    own = report.objectives[1:]
    names = {objective.name for objective in own}
    others = (INFERENCE_COST, *(HARDWARE_METRICS if _has_hardware(report.points) else ()))
    return (*own, *(Objective(metric, None) for metric in others if metric.name not in names))


def _has_hardware(points: tuple[MeasuredPoint, ...]) -> bool:
    return bool(points) and all(point.hardware is not None for point in points)
