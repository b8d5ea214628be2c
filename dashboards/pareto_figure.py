"""Draws a Pareto plot: accuracy against one other objective, with all points, the front, the designs to beat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.pareto_front import ParetoFrontData, PlotPoint, ReferenceDesign
from spaces.metrics import ACCURACY, INFERENCE_COST

FRONT_COLOUR = "#1f5fa8"
BUILT_COLOUR = "#2a8c55"
THRESHOLD_COLOUR = "#b5392c"
POINT_COLOUR = "#b4bac2"
LINEAGE_COLOUR = "#d3d8de"
FRONT_LINEAGE_COLOUR = "#8fb3de"
"""Of the trials with a point on the front."""
INFEASIBLE_COLOUR = "#cf7f72"
TEXT_COLOUR = "#2b3038"
GRID_COLOUR = "#eceff3"
REFERENCE_SYMBOLS = ("star-open", "diamond-open", "square-open", "triangle-up-open")

LEAST_LOG_RATIO = 10
"""From this ratio of largest to smallest value, a hardware metric has a logarithmic axis; inference cost always."""


@dataclass(frozen=True)
class _Axis:
    """The x axis: which points it can show, and where."""

    is_logarithmic: bool

    def drawable(self, points: Sequence[PlotPoint]) -> list[PlotPoint]:
        """On a logarithmic axis, the points above 0. (A network whose weights are all zero costs 0.) Else all."""
        return [point for point in points if point.value > 0 or not self.is_logarithmic]

    def remark(self, points: Sequence[PlotPoint]) -> str:
        """How many points are not drawn, for the legend."""
        n_left_out = len(points) - len(self.drawable(points))
        return f", {n_left_out} at cost 0 not drawn" if n_left_out else ""

    def position(self, value: float) -> float:
        """Where a drawable value lies along the axis."""
        return math.log10(value) if self.is_logarithmic else value


def pareto_front_figure(data: ParetoFrontData) -> go.Figure:
    """The plot's objective on x, accuracy in percent on y. Fills its place, which needs 550 x 450 pixels."""
    axis = _choose_axis(data)
    figure = go.Figure(layout=_layout(data, axis))
    if data.lineages:
        figure.add_traces(_lineage_traces(data, axis))
    figure.add_trace(_points_trace(data.dominated, axis))
    if data.has_constraints:
        figure.add_trace(_infeasible_trace(data.infeasible, axis))
    for reference, symbol in zip(data.references, REFERENCE_SYMBOLS, strict=False):
        figure.add_trace(_reference_trace(reference, symbol))
    figure.add_trace(_front_trace(data, axis))
    figure.add_trace(_built_trace(data.built, axis))
    return figure


def _choose_axis(data: ParetoFrontData) -> _Axis:
    if data.objective.metric is INFERENCE_COST:
        return _Axis(is_logarithmic=True)
    values = [point.value for point in (*data.dominated, *data.infeasible, *data.front)]
    return _Axis(is_logarithmic=bool(values) and min(values) > 0 and max(values) >= LEAST_LOG_RATIO * min(values))


def _lineage_traces(data: ParetoFrontData, axis: _Axis) -> list[go.Scatter]:
    """A thin line from stage to stage of each trial; all are one entry of the legend. The front's trials stand out."""
    on_front = {point.trial_number for point in data.front}
    front = [lineage for lineage in data.lineages if lineage[0].trial_number in on_front]
    others = [lineage for lineage in data.lineages if lineage[0].trial_number not in on_front]
    traces = [_lineages_trace(others, LINEAGE_COLOUR, axis), _lineages_trace(front, FRONT_LINEAGE_COLOUR, axis)]
    name = f"stages of a trial ({len(data.lineages)} trials)"
    return [trace.update(name=name, showlegend=trace is traces[-1]) for trace in traces]


def _lineages_trace(lineages: Sequence[Sequence[PlotPoint]], colour: str, axis: _Axis) -> go.Scatter:
    """Without hover texts: the points have those."""
    lines = [axis.drawable(lineage) for lineage in lineages]
    return go.Scatter(
        x=[x for line in lines for x in (*(point.value for point in line), None)],  # None ends a line
        y=[y for line in lines for y in (*(point.accuracy for point in line), None)],
        mode="lines",
        line={"color": colour, "width": 1.2},
        hoverinfo="skip",
        legendgroup="lineages",
        legendrank=3,
    )


def _points_trace(points: Sequence[PlotPoint], axis: _Axis) -> go.Scatter:
    trace = _markers_trace(points, axis, {"color": POINT_COLOUR, "size": 7})
    return trace.update(name=f"points ({len(points)} dominated{axis.remark(points)})", legendrank=2)


def _infeasible_trace(points: Sequence[PlotPoint], axis: _Axis) -> go.Scatter:
    line = {"width": 1.5, "color": INFEASIBLE_COLOUR}
    trace = _markers_trace(points, axis, {"color": INFEASIBLE_COLOUR, "size": 8, "symbol": "x-thin", "line": line})
    return trace.update(name=f"infeasible ({len(points)}{axis.remark(points)})", legendrank=2)


def _front_trace(data: ParetoFrontData, axis: _Axis) -> go.Scatter:
    points = data.front
    is_line = data.n_objectives == 2  # a front of more objectives is no line in any one plot
    return go.Scatter(
        **_coordinates(points, axis),
        mode="lines+markers+text" if is_line else "markers+text",
        legendrank=1,
        name=f"Pareto front ({len(points)}{axis.remark(points)})",
        line={"color": FRONT_COLOUR, "width": 2, "shape": "hv"},
        marker={"color": FRONT_COLOUR, "size": 9, "line": {"color": "white", "width": 1}},
        text=_labels(data, axis),
        # beyond the front there are no other points, with two objectives
        textposition="top left" if data.objective.metric.direction == "minimize" else "top right",
        textfont={"color": FRONT_COLOUR, "size": 11},
        cliponaxis=False,
    )


def _built_trace(points: Sequence[PlotPoint], axis: _Axis) -> go.Scatter:
    marker = {"color": BUILT_COLOUR, "size": 15, "symbol": "circle-open", "line": {"width": 3}}
    trace = _markers_trace(points, axis, marker)
    return trace.update(name=f"built with FINN ({len(points)}{axis.remark(points)})", legendrank=3)


def _markers_trace(points: Sequence[PlotPoint], axis: _Axis, marker: Mapping[str, object]) -> go.Scatter:
    return go.Scatter(**_coordinates(points, axis), mode="markers", marker=marker)


def _reference_trace(reference: ReferenceDesign, symbol: str) -> go.Scatter:
    lines = (
        f"{ACCURACY.label} {ACCURACY.text(reference.accuracy)}<br>"
        f"{INFERENCE_COST.label} {INFERENCE_COST.text(reference.inference_cost)}"
    )
    return go.Scatter(
        x=[reference.inference_cost],
        y=[reference.accuracy],
        mode="markers",
        legendrank=4,
        name=reference.name,
        marker={"color": TEXT_COLOUR, "size": 11, "symbol": symbol, "line": {"width": 1.5}},
        hovertemplate=f"<b>{reference.name}</b> (published)<br>{lines}<extra></extra>",
    )


def _coordinates(points: Sequence[PlotPoint], axis: _Axis) -> dict[str, object]:
    drawable = axis.drawable(points)
    return {
        "x": [point.value for point in drawable],
        "y": [point.accuracy for point in drawable],
        "hovertext": ["<br>".join(point.hover) for point in drawable],
        "customdata": [[point.trial_number, point.stage] for point in drawable],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _axis_span(data: ParetoFrontData, axis: _Axis) -> float:
    """The visible length of the axis, in positions."""
    points = axis.drawable((*data.dominated, *data.infeasible, *data.front))
    values = [point.value for point in points] + [design.inference_cost for design in data.references]
    positions = [axis.position(value) for value in values] or [0.0]
    least = 0.5 if axis.is_logarithmic else 1.0
    return max(max(positions) - min(positions), least)


def _axis_height(data: ParetoFrontData) -> float:
    """The visible length of the y axis."""
    points = (*data.dominated, *data.infeasible, *data.front)
    designs = [design.accuracy for design in data.references]
    shown = [data.threshold, *designs, *(point.accuracy for point in points)]
    return max(shown) - min(shown)


def _labels(data: ParetoFrontData, axis: _Axis) -> list[str]:
    """The label of each drawable point of the front; empty where it would cover an earlier one."""
    points, span, height = axis.drawable(data.front), _axis_span(data, axis), _axis_height(data)
    labels: list[str] = []
    labelled: list[PlotPoint] = []
    for point in points:
        is_free = not any(
            abs(axis.position(point.value) - axis.position(other.value)) < 0.06 * span
            and abs(point.accuracy - other.accuracy) < 0.05 * max(height, 0.05)
            for other in labelled
        )
        labels.append(point.label if is_free else "")
        labelled += [point] if is_free else []
    return labels


def _layout(data: ParetoFrontData, axis: _Axis) -> go.Layout:
    accuracy_title = {"text": f"{ACCURACY.title}, all SNRs, {ACCURACY.goal}", "standoff": 15}
    look = {"gridcolor": GRID_COLOUR, "linecolor": TEXT_COLOUR, "ticks": "outside", "automargin": True}
    shapes, annotations = [_threshold_line(data.threshold)], [_threshold_label(data.threshold)]
    if data.bound is not None:
        shapes.append(_bound_line(data.bound.bound))
        annotations.append(_bound_label(data.bound.bound, data.bound.describe_bound(), axis))
    return go.Layout(
        template="none",
        title={"text": _title(data), "x": 0, "xref": "paper", "font": {"size": 15}},
        font={"family": "Helvetica, Arial, sans-serif", "size": 13, "color": TEXT_COLOUR},
        xaxis={**look, **_scale(data, axis), "title": {"text": _axis_title(data), "standoff": 10}},
        yaxis={**look, "tickformat": ".0%", "title": accuracy_title},
        shapes=shapes,
        annotations=annotations,
        legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 11}},
        margin={"l": 60, "r": 20, "t": 40, "b": 40},
        hoverlabel={"align": "left"},
    )


def _title(data: ParetoFrontData) -> str:
    if data.n_objectives == 2:
        return f"Pareto front of {data.study_name}"
    return f"{data.study_name}: accuracy against {data.objective.metric.label}"


def _axis_title(data: ParetoFrontData) -> str:
    metric = data.objective.metric
    scale = f" ({metric.scale})" if metric.scale else ""
    source = ", FINN's estimate" if metric.is_hardware else ""
    return f"{metric.title}{scale}{source}, {metric.goal}"


def _scale(data: ParetoFrontData, axis: _Axis) -> dict[str, object]:
    if not axis.is_logarithmic:
        return {"type": "linear", "rangemode": "tozero", "tickformat": ",~f"}
    decades = {"type": "log", "dtick": 1, "minor": {"ticks": "outside", "ticklen": 3}}
    if data.objective.metric is INFERENCE_COST:
        return decades
    ticks = [
        digit * 10.0**decade for decade in range(-3, 10) for digit in (1, 2, 5)
    ]  # several in each decade, for a plot may show one decade only
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


def _threshold_line(threshold: float) -> dict[str, object]:
    line = {"color": THRESHOLD_COLOUR, "width": 1.5, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": threshold, "y1": threshold, "line": line}


def _threshold_label(threshold: float) -> dict[str, object]:
    return {
        "text": f"threshold {100 * threshold:.4g}%",
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": threshold,
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": THRESHOLD_COLOUR, "size": 12},
    }


def _bound_line(bound: float) -> dict[str, object]:
    line = {"color": THRESHOLD_COLOUR, "width": 1.5, "dash": "dot"}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": bound, "x1": bound, "line": line}


def _bound_label(bound: float, text: str, axis: _Axis) -> dict[str, object]:
    return {
        "text": text,
        "x": axis.position(bound),
        "xanchor": "right",
        "yref": "paper",
        "y": 0,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": THRESHOLD_COLOUR, "size": 12},
    }
