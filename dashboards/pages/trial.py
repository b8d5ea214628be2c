"""The page of a trial: its network, where the cost sits, its learning curve, its accuracy at each SNR, its builds."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
from markupsafe import Markup

from dashboards.architecture_table import architecture_table
from dashboards.build_text import STATE_WORDS, build_sentences
from dashboards.pages.figures import embed_figure
from dashboards.text_table import TextTable, table_as_html
from search.layer_costs import list_layer_shares
from search.measured_trials import MeasuredPoint, MeasuredTrial
from search.reports.study_report import StudyReport
from search.stored_point import find_point
from spaces.metrics import ACCURACY, HARDWARE_METRICS, INFERENCE_COST
from storage.artifacts import ArtifactError, ArtifactStore
from storage.records import name_network
from storage.training_history import EpochRecord, read_history

COLOURS = ("#1f77b4", "#d9622b", "#2a8c55", "#8a63c4", "#b5392c", "#6f7782")
"""Of stages in order; readable on light and dark."""


@dataclass(frozen=True)
class StageLink:
    """One of the trial's networks."""

    stage: int
    name: str
    is_shown: bool


@dataclass(frozen=True)
class BuildPart:
    """One build of the trial."""

    title: str
    text: str
    log_tail: str | None


@dataclass(frozen=True)
class TrialView:
    """All that the page shows."""

    study: str
    number: int
    name: str
    headline: str
    stages: tuple[StageLink, ...]
    facts: Markup
    architecture: Markup
    layers: Markup
    snr_figure: Markup
    curve_figure: Markup | None
    """None where no learning curve was kept."""
    builds: tuple[BuildPart, ...]
    promote_command: str


def trial_view(report: StudyReport, artifacts: ArtifactStore, number: int, stage: int | None) -> TrialView:
    """The trial after this stage; None: after its last. Raises StudyError where it has no network."""
    point = find_point(report, number, stage)
    trial = point.trial
    return TrialView(
        study=report.study_name,
        number=number,
        name=point.name,
        headline=_headline(report, point),
        stages=tuple(
            StageLink(other.stage, name_network(number, other.stage), other.stage == point.stage)
            for other in trial.points
        ),
        facts=table_as_html(_facts(report, point)),
        architecture=table_as_html(architecture_table(point.architecture)),
        layers=table_as_html(_layers(point)),
        snr_figure=embed_figure(_snr_figure(trial)),
        curve_figure=_curve_figure(_find_history(artifacts, point)),
        builds=tuple(
            BuildPart(
                f"Build {build.build_id} of {build.network}: {build.target.board} at {build.target.target_fps:,} "
                f"frames/s, {STATE_WORDS[build.state]}",
                " ".join(build_sentences(build)),
                build.log_tail,
            )
            for build in report.builds
            if build.trial_number == number
        ),
        promote_command=f"python -m search.promote {report.study_name} {number} --stage {point.stage}",
    )


def _headline(report: StudyReport, point: MeasuredPoint) -> str:
    place = "on the front" if point.key in {other.key for other in report.front} else "not on the front"
    feasible = "" if report.is_feasible(point) else ", infeasible"
    return f"{ACCURACY.text(point.accuracy)} at {INFERENCE_COST.describe(point)}, {place}{feasible}"


def _facts(report: StudyReport, point: MeasuredPoint) -> TextTable:
    judgement = report.judge(point)
    low, high = judgement.interval
    rows = [
        ("accuracy, validation", f"{point.accuracy:.2%}"),
        ("95 % interval", f"{low:.2%} to {high:.2%}, {judgement.n_trainings} trained"),
        ("inference cost", f"{point.inference_cost:.6f}"),
        ("bit operations", f"{point.cost.bit_ops:,.0f}"),
        ("weight bits", f"{point.cost.weight_bits:,.0f}"),
        ("parameters", f"{point.cost.parameters:,}"),
        ("epochs", str(point.evaluation.epochs)),
        ("seed", str(point.evaluation.seed)),
    ]
    if point.hardware is not None:
        rows += [(metric.title, metric.number(metric.read(point))) for metric in HARDWARE_METRICS]
    return TextTable(("measure", "value"), tuple(rows))


def _layers(point: MeasuredPoint) -> TextTable:
    header = (
        "layer",
        "MACs",
        "weight bits",
        "input bits",
        "not zero",
        "bit operations",
        "weights, bits",
        "of the cost",
    )
    rows = [
        (
            layer.name,
            f"{layer.macs:,}",
            str(layer.weight_bits_each),
            str(layer.activation_bits),
            f"{layer.density:.1%}",
            f"{layer.bit_ops:,.0f}",
            f"{layer.weight_bits:,.0f}",
            f"{layer.share:.1%}",
        )
        for layer in list_layer_shares(point)
    ]
    return TextTable(header, tuple(rows))


def _snr_figure(trial: MeasuredTrial) -> go.Figure:
    figure = go.Figure()
    for index, point in enumerate(trial.points):
        by_snr = dict(sorted(point.evaluation.accuracy_by_snr.items()))
        figure.add_scatter(
            x=list(by_snr),
            y=list(by_snr.values()),
            name=f"stage {point.stage}",
            mode="lines+markers",
            marker={"color": COLOURS[index % len(COLOURS)]},
        )
    return figure.update_layout(
        xaxis={"title": {"text": "SNR label, dB"}}, yaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"}
    )


def _find_history(artifacts: ArtifactStore, point: MeasuredPoint) -> tuple[EpochRecord, ...]:
    try:
        return read_history(artifacts.path(point.evaluation.checkpoint).parent)
    except ArtifactError:
        return ()


def _curve_figure(history: tuple[EpochRecord, ...]) -> Markup | None:
    """Loss and accuracy over the epochs of all stages."""
    if not history:
        return None
    epochs = list(range(1, len(history) + 1))
    figure = go.Figure()
    figure.add_scatter(
        x=epochs, y=[record.loss for record in history], name="training loss", marker={"color": COLOURS[0]}
    )
    measured = [(epoch, record.accuracy) for epoch, record in zip(epochs, history, strict=True)]
    watched = [(epoch, accuracy) for epoch, accuracy in measured if accuracy is not None]
    if watched:
        figure.add_scatter(
            x=[epoch for epoch, _ in watched],
            y=[accuracy for _, accuracy in watched],
            name="accuracy, validation",
            yaxis="y2",
            marker={"color": COLOURS[1]},
        )
    for epoch, record in zip(epochs, history, strict=True):
        if record.stage > 0 and record.epoch == 1:
            figure.add_vline(x=epoch - 0.5, line={"dash": "dot", "width": 1, "color": COLOURS[5]})
    figure.update_layout(
        xaxis={"title": {"text": "epoch"}},
        yaxis={"title": {"text": "loss, nats"}},
        yaxis2={"title": {"text": "accuracy"}, "overlaying": "y", "side": "right", "tickformat": ".0%"},
    )
    return embed_figure(figure)
