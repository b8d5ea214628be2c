"""What a study's Pareto plots show: its trials, its front, and published designs to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboards.metric_text import missed_bounds, resources_text, speed_text
from search.measured_trials import MeasuredTrial
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
    """One trial in the plot."""

    trial_number: int
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
    """Of the study. With more than two, trials of the front may lie anywhere in one plot."""
    dominated: tuple[PlotPoint, ...]
    """Feasible trials that are not on the front, by trial number."""
    infeasible: tuple[PlotPoint, ...]
    """Trials that miss a constraint, by trial number."""
    front: tuple[PlotPoint, ...]
    """From the best to the worst value of the plot's objective."""
    built: tuple[PlotPoint, ...]
    """Trials with a finished FINN build."""
    references: tuple[ReferenceDesign, ...]
    """Published designs; none unless the objective is inference cost."""


def pareto_front_data(report: StudyReport) -> tuple[ParetoFrontData, ...]:
    """One plot for each objective but accuracy, in their order.

    The plots of a study without complete trials show the threshold and the published designs.
    """
    return tuple(_plot_data(report, objective) for objective in report.objectives[1:])


def _plot_data(report: StudyReport, objective: Objective) -> ParetoFrontData:
    on_front = {trial.trial_number for trial in report.front}
    built = {build.trial_number: build for build in report.builds if build.state is BuildState.SUCCEEDED}
    points = {
        trial.trial_number: _plot_point(trial, built.get(trial.trial_number), report, objective)
        for trial in report.trials
    }
    infeasible = {trial.trial_number for trial in report.trials if not report.is_feasible(trial)}
    front = sorted((points[number] for number in on_front), key=lambda point: (point.value, point.accuracy))
    return ParetoFrontData(
        study_name=report.study_name,
        threshold=report.threshold,
        objective=objective,
        bound=next((bound for bound in report.constraints if bound.name == objective.name), None),
        has_constraints=bool(report.constraints),
        n_objectives=len(report.objectives),
        dominated=tuple(points[number] for number in sorted(points.keys() - on_front - infeasible)),
        infeasible=tuple(points[number] for number in sorted(infeasible)),
        front=tuple(front if objective.metric.direction == "minimize" else reversed(front)),
        built=tuple(points[number] for number in sorted(built) if number in points),
        references=REFERENCE_DESIGNS if objective.metric is INFERENCE_COST else (),
    )


def _plot_point(trial: MeasuredTrial, build: Build | None, report: StudyReport, objective: Objective) -> PlotPoint:
    lines = [
        f"<b>trial {trial.trial_number}</b>",
        ACCURACY.describe(trial),
        INFERENCE_COST.describe(trial),
        f"bit-ops {trial.cost.bit_ops:,.0f}",
        f"weight bits {trial.cost.weight_bits:,.0f}",
        *_estimate_lines(trial),
        *(f"<b>misses</b> {missed}" for missed in missed_bounds(trial, report.constraints)),
        *([] if build is None else _build_lines(build)),
    ]
    return PlotPoint(trial.trial_number, trial.accuracy, objective.metric.read(trial), tuple(lines))


def _estimate_lines(trial: MeasuredTrial) -> Iterable[str]:
    if trial.hardware is not None:
        yield f"estimate: {resources_text(trial.hardware)}"
        yield speed_text(trial.hardware.throughput_fps, trial.hardware.latency_us)
        yield f"bottleneck {trial.hardware.bottleneck_layer}"


def _build_lines(build: Build) -> Iterable[str]:
    if build.report is not None:
        yield f"{build.target.board}: {resources_text(build.report.total)}"
        yield speed_text(build.report.throughput_fps, build.report.latency_us)
