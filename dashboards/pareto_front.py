"""What a study's Pareto plots show: its points, its front, and published designs to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboards.metric_text import missed_bounds, resources_text, speed_text
from search.measured_trials import MeasuredPoint
from search.objectives import Constraint, Objective
from search.reports.study_report import StudyReport
from spaces.metrics import ACCURACY, INFERENCE_COST
from storage.records import Build, BuildState


@dataclass(frozen=True)
class ReferenceDesign:
    """A published network on RadioML 2018.01A; accuracy on the test part over all SNRs, 0 to 1."""

    name: str
    accuracy: float
    inference_cost: float


REFERENCE_DESIGNS = (
    # Rosa et al., "BacalhauNet: A Tiny CNN for Lightning-Fast Modulation Classification", ITU J-FET, table 6, i = 3.
    ReferenceDesign("BacalhauNet", 0.56241, 0.016211),
    # The AaronNet team's repository, after the deadline of ITU AI/ML in 5G Challenge PS-007; the lowest cost found.
    ReferenceDesign("AaronNet32++", 0.5609, 0.015705),
    # The A(MC) Team, slides "Lightning-Fast Modulation Classification with Hardware-Efficient Neural Networks", 2021.
    ReferenceDesign("A(MC) VGG10 w4a4", 0.5625, 0.042467),
    # The baseline of ITU PS-007 (sandbox brevitas-radioml-challenge-21): inference cost is 1 by definition.
    ReferenceDesign("VGG10 8-bit", 0.5947, 1.0),
)


@dataclass(frozen=True)
class PlotPoint:
    """One network in the plot: of a trial, at the end of a stage."""

    trial_number: int
    stage: int
    label: str
    """A short name."""
    accuracy: float
    value: float
    """Of the plot's objective."""
    hover: tuple[str, ...]
    """Lines that appear under the pointer."""


@dataclass(frozen=True)
class ParetoFrontData:
    """All that one plot shows. Accuracy is 0 to 1; higher is better."""

    study_name: str
    threshold: float
    objective: Objective
    """The x axis."""
    bound: Constraint | None
    """The constraint on that objective."""
    has_constraints: bool
    """Whether the study has any constraint."""
    n_objectives: int
    """Of the study. With more than two, points of the front may lie anywhere in one plot."""
    lineages: tuple[tuple[PlotPoint, ...], ...]
    """The points of each trial that has several, by trial number, then stage."""
    dominated: tuple[PlotPoint, ...]
    """Feasible points that are not on the front, by trial number and stage."""
    infeasible: tuple[PlotPoint, ...]
    """Points that miss a constraint, by trial number and stage."""
    front: tuple[PlotPoint, ...]
    """From the best to the worst value of the plot's objective."""
    built: tuple[PlotPoint, ...]
    """Points with a finished FINN build."""
    references: tuple[ReferenceDesign, ...]
    """Published designs; none unless the objective is inference cost."""


def pareto_front_data(report: StudyReport) -> tuple[ParetoFrontData, ...]:
    """One plot for each objective but accuracy, in their order.

    The plots of a study without complete trials show the threshold and the published designs.
    """
    return tuple(plot_data(report, objective) for objective in report.objectives[1:])


def plot_data(report: StudyReport, objective: Objective) -> ParetoFrontData:
    """The plot of accuracy against a metric that all points have."""
    on_front = {point.key for point in report.front}
    built = {(build.trial_number, build.stage): build for build in report.builds if build.state is BuildState.SUCCEEDED}
    points = {point.key: _plot_point(point, built.get(point.key), report, objective) for point in report.points}
    infeasible = {point.key for point in report.points if not report.is_feasible(point)}
    front = sorted((points[key] for key in on_front), key=lambda point: (point.value, point.accuracy))
    return ParetoFrontData(
        study_name=report.study_name,
        threshold=report.threshold,
        objective=objective,
        bound=next((bound for bound in report.constraints if bound.name == objective.name), None),
        has_constraints=bool(report.constraints),
        n_objectives=len(report.objectives),
        lineages=tuple(
            tuple(points[point.key] for point in trial.points) for trial in report.trials if len(trial.points) > 1
        ),
        dominated=tuple(points[key] for key in sorted(points.keys() - on_front - infeasible)),
        infeasible=tuple(points[key] for key in sorted(infeasible)),
        front=tuple(front if objective.metric.direction == "minimize" else reversed(front)),
        built=tuple(points[key] for key in sorted(built) if key in points),
        references=REFERENCE_DESIGNS if objective.metric is INFERENCE_COST else (),
    )


def _plot_point(point: MeasuredPoint, build: Build | None, report: StudyReport, objective: Objective) -> PlotPoint:
    lines = [
        f"<b>{point.name}</b>",
        ACCURACY.describe(point),
        INFERENCE_COST.describe(point),
        f"bit-ops {point.cost.bit_ops:,.0f}",
        f"weight bits {point.cost.weight_bits:,.0f}",
        *_estimate_lines(point),
        *(f"<b>misses</b> {missed}" for missed in missed_bounds(point, report.constraints)),
        *([] if build is None else _build_lines(build)),
    ]
    label = f"#{point.trial_number}{f' s{point.stage}' if report.has_stages else ''}"
    return PlotPoint(point.trial_number, point.stage, label, point.accuracy, objective.metric.read(point), tuple(lines))


def _estimate_lines(point: MeasuredPoint) -> Iterable[str]:
    if point.hardware is not None:
        yield f"estimate: {resources_text(point.hardware)}"
        yield speed_text(point.hardware.throughput_fps, point.hardware.latency_us)
        yield f"bottleneck {point.hardware.bottleneck_layer}"


def _build_lines(build: Build) -> Iterable[str]:
    if build.report is not None:
        yield f"{build.target.board}: {resources_text(build.report.total)}"
        yield speed_text(build.report.throughput_fps, build.report.latency_us)
