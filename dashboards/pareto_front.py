"""The Pareto plot: accuracy against inference cost of all trials, the front, and the published designs to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from search.report import StudyReport, TrialReport
from storage.records import Build, BuildState

FRONT_COLOUR = "#1f5fa8"
BUILT_COLOUR = "#2a8c55"
THRESHOLD_COLOUR = "#b5392c"
TRIAL_COLOUR = "#b4bac2"
TEXT_COLOUR = "#2b3038"
GRID_COLOUR = "#eceff3"
REFERENCE_SYMBOLS = ("star-open", "diamond-open", "square-open", "triangle-up-open")


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
    """One trial in the plot, with the lines that appear when the pointer is over it."""

    trial_number: int
    accuracy: float
    inference_cost: float
    hover: tuple[str, ...]


@dataclass(frozen=True)
class ParetoFrontData:
    """All that the plot shows. Accuracy 0 to 1, up is better; inference cost (eta), down is better."""

    study_name: str
    threshold: float
    dominated: tuple[PlotPoint, ...]
    """Complete trials that are not on the front, by trial number."""
    front: tuple[PlotPoint, ...]
    """By rising inference cost, so by rising accuracy too."""
    built: tuple[PlotPoint, ...]
    """Trials with a finished FINN build."""
    references: tuple[ReferenceDesign, ...]


def pareto_front_data(report: StudyReport) -> ParetoFrontData:
    """What the plot of this study shows; a study without complete trials gives the threshold and the references."""
    on_front = {trial.trial_number for trial in report.front}
    built = {build.trial_number: build for build in report.builds if build.state is BuildState.SUCCEEDED}
    points = {trial.trial_number: _plot_point(trial, built.get(trial.trial_number)) for trial in report.trials}
    return ParetoFrontData(
        study_name=report.study_name,
        threshold=report.threshold,
        dominated=tuple(points[number] for number in sorted(points) if number not in on_front),
        front=tuple(sorted((points[number] for number in on_front), key=lambda point: point.inference_cost)),
        built=tuple(points[number] for number in sorted(built) if number in points),
        references=REFERENCE_DESIGNS,
    )


def pareto_front_figure(data: ParetoFrontData) -> go.Figure:
    """Inference cost on a logarithmic x axis, accuracy in percent on y; fills its place, 550 x 450 pixels or more."""
    figure = go.Figure(layout=_layout(data))
    figure.add_trace(_trials_trace(data.dominated))
    for reference, symbol in zip(data.references, REFERENCE_SYMBOLS, strict=False):
        figure.add_trace(_reference_trace(reference, symbol))
    figure.add_trace(_front_trace(data.front))
    figure.add_trace(_built_trace(data.built))
    return figure


def _plot_point(trial: TrialReport, build: Build | None) -> PlotPoint:
    lines = [
        f"<b>trial {trial.trial_number}</b>",
        f"accuracy {trial.accuracy:.2%}",
        f"inference cost {trial.inference_cost:.4g}",
        f"bit-ops {trial.bit_ops:,.0f}",
        f"weight bits {trial.weight_bits:,.0f}",
    ]
    if build is not None and build.report is not None:
        lines += [
            f"{build.target.board}: {build.report.lut:,} LUT, {build.report.bram_18k} BRAM18, {build.report.dsp} DSP",
            f"{build.report.throughput_fps:,.0f} frames/s, {build.report.latency_us:,.1f} µs",
        ]
    return PlotPoint(trial.trial_number, trial.accuracy, trial.inference_cost, tuple(lines))


def _trials_trace(points: Sequence[PlotPoint]) -> go.Scatter:
    return go.Scatter(
        **_coordinates(points),
        mode="markers",
        legendrank=2,
        name=f"trials ({len(points)} dominated{_remark(points)})",
        marker={"color": TRIAL_COLOUR, "size": 7},
    )


def _front_trace(points: Sequence[PlotPoint]) -> go.Scatter:
    return go.Scatter(
        **_coordinates(points),
        mode="lines+markers+text",
        legendrank=1,
        name=f"Pareto front ({len(points)}{_remark(points)})",
        line={"color": FRONT_COLOUR, "width": 2, "shape": "hv"},
        marker={"color": FRONT_COLOUR, "size": 9, "line": {"color": "white", "width": 1}},
        text=_labels(_drawable(points)),
        textposition="top left",  # up and left of a front nothing else can lie
        textfont={"color": FRONT_COLOUR, "size": 11},
        cliponaxis=False,
    )


def _built_trace(points: Sequence[PlotPoint]) -> go.Scatter:
    return go.Scatter(
        **_coordinates(points),
        mode="markers",
        legendrank=3,
        name=f"built with FINN ({len(points)}{_remark(points)})",
        marker={"color": BUILT_COLOUR, "size": 15, "symbol": "circle-open", "line": {"width": 3}},
    )


def _reference_trace(reference: ReferenceDesign, symbol: str) -> go.Scatter:
    lines = f"accuracy {reference.accuracy:.2%}<br>inference cost {reference.inference_cost:.4g}"
    return go.Scatter(
        x=[reference.inference_cost],
        y=[reference.accuracy],
        mode="markers",
        legendrank=4,
        name=reference.name,
        marker={"color": TEXT_COLOUR, "size": 11, "symbol": symbol, "line": {"width": 1.5}},
        hovertemplate=f"<b>{reference.name}</b> (published)<br>{lines}<extra></extra>",
    )


def _coordinates(points: Sequence[PlotPoint]) -> dict[str, object]:
    drawable = _drawable(points)
    return {
        "x": [point.inference_cost for point in drawable],
        "y": [point.accuracy for point in drawable],
        "hovertext": ["<br>".join(point.hover) for point in drawable],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _drawable(points: Sequence[PlotPoint]) -> list[PlotPoint]:
    """Those that a logarithmic axis has a place for: a network whose weights were all pruned has cost 0."""
    return [point for point in points if point.inference_cost > 0]


def _remark(points: Sequence[PlotPoint]) -> str:
    n_left_out = len(points) - len(_drawable(points))
    return f", {n_left_out} at cost 0 not drawn" if n_left_out else ""


def _labels(points: Sequence[PlotPoint]) -> list[str]:
    """#trial beside each point of the front, left out where the one before would be written over."""
    labels: list[str] = []
    last: PlotPoint | None = None
    for point in points:
        is_free = last is None or not _is_near(last, point, points)
        labels.append(f"#{point.trial_number}" if is_free else "")
        last = point if is_free else last
    return labels


def _is_near(one: PlotPoint, other: PlotPoint, points: Sequence[PlotPoint]) -> bool:
    costs = [math.log10(point.inference_cost) for point in points]
    accuracies = [point.accuracy for point in points]
    width = max(*costs, math.log10(1.0)) - min(costs)
    height = max(max(accuracies) - min(accuracies), 0.05)
    across = abs(math.log10(other.inference_cost) - math.log10(one.inference_cost)) / max(width, 0.5)
    return across < 0.06 and abs(other.accuracy - one.accuracy) / height < 0.06


def _layout(data: ParetoFrontData) -> go.Layout:
    axis = {"gridcolor": GRID_COLOUR, "linecolor": TEXT_COLOUR, "ticks": "outside", "automargin": True}
    return go.Layout(
        template="none",
        title={"text": f"Pareto front of {data.study_name}", "x": 0, "xref": "paper", "font": {"size": 15}},
        font={"family": "Helvetica, Arial, sans-serif", "size": 13, "color": TEXT_COLOUR},
        xaxis={
            **axis,
            "type": "log",
            "dtick": 1,
            "minor": {"ticks": "outside", "ticklen": 3},
            "title": {"text": "inference cost η (8-bit VGG10 = 1), lower is better", "standoff": 10},
        },
        yaxis={**axis, "tickformat": ".0%", "title": {"text": "accuracy, all SNRs, higher is better", "standoff": 15}},
        shapes=[_threshold_line(data.threshold)],
        annotations=[_threshold_label(data.threshold)],
        legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 11}},
        margin={"l": 60, "r": 20, "t": 40, "b": 40},
        hoverlabel={"align": "left"},
    )


def _threshold_line(threshold: float) -> dict[str, object]:
    line = {"color": THRESHOLD_COLOUR, "width": 1.5, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": threshold, "y1": threshold, "line": line}


def _threshold_label(threshold: float) -> dict[str, object]:
    return {
        "text": f"threshold {threshold:.0%}",
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": threshold,
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": THRESHOLD_COLOUR, "size": 12},
    }
