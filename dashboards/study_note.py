"""The note of one study in Optuna dashboard, in Markdown: what it searches, its threshold, its front and builds."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.trial_note import markdown_table, verification_sentence
from search.report import StudyReport, TrialReport
from spaces.study_config import DatasetPart, StudyConfig
from storage.records import Build


def study_note(report: StudyReport, config: StudyConfig) -> str:
    """The note as GitHub-flavoured Markdown; the same study gives the same text."""
    parts = [_description(config), _progress(report)]
    if report.front:
        parts.append(_front_table(report))
    if report.builds:
        parts.append("### FINN builds\n\n" + _builds_table(report.builds))
    parts.append(f"As one HTML file: `python -m dashboards.report_page {report.study_name} --out report.html`")
    return "\n\n".join(parts)


def _description(config: StudyConfig) -> str:
    stages = len(config.pruning.stages)
    return (
        f"Searches quantized networks for modulation classification that are accurate and cheap: "
        f"{config.budget.trials} trials of {config.budget.epochs} epochs and {stages} pruning stages, "
        f"sampler `{config.study.sampler}`, seed {config.study.seed}, data: {_dataset(config.dataset)}. "
        f"A network is of use from an accuracy of **{config.objectives.accuracy.threshold:.0%}**."
    )


def _dataset(dataset: DatasetPart) -> str:
    if dataset.path is not None:
        return f"`{dataset.path}`"
    return f"`RADIOML_2018_01A` or else a generated twin, profile `{dataset.twin.profile}`"


def _progress(report: StudyReport) -> str:
    counts, best = report.counts, report.best_feasible
    reached = (
        "no network has reached it yet"
        if best is None
        else f"the cheapest that reaches it is trial {best.trial_number}: η {best.inference_cost:.4g}"
    )
    return (
        f"{counts.complete} trials complete, {counts.pruned} could not be built, {counts.failed} failed; {reached}. "
        f"Hypervolume {report.hypervolume:.4f}."
    )


def _front_table(report: StudyReport) -> str:
    header = ["front: trial", "accuracy", "reaches threshold", "η", "bit-ops", "weight bits", "parameters"]
    rows = [_front_row(trial, report.threshold) for trial in report.front]
    return markdown_table(header, rows)


def _front_row(trial: TrialReport, threshold: float) -> list[str]:
    return [
        str(trial.trial_number),
        f"{trial.accuracy:.2%}",
        "yes" if trial.accuracy >= threshold else "no",
        f"{trial.inference_cost:.4g}",
        f"{trial.bit_ops:,.0f}",
        f"{trial.weight_bits:,.0f}",
        f"{trial.parameters:,}",
    ]


def _builds_table(builds: Sequence[Build]) -> str:
    header = ["trial", "state", "board", "LUT", "BRAM18", "DSP", "frames/s", "latency µs"]
    notes = [
        f"Trial {build.trial_number}: {verification_sentence(build.report)}"
        for build in builds
        if build.report is not None
    ]
    return "\n\n".join([markdown_table(header, [_build_row(build) for build in builds]), *notes])


def _build_row(build: Build) -> list[str]:
    name = f"{build.trial_number}{' (below threshold)' if build.is_below_threshold else ''}"
    report = build.report
    if report is None:
        return [name, build.state.value, build.target.board, "", "", "", "", ""]
    return [
        name,
        build.state.value,
        build.target.board,
        f"{report.lut:,}",
        f"{report.bram_18k:,}",
        f"{report.dsp:,}",
        f"{report.throughput_fps:,.0f}",
        f"{report.latency_us:,.1f}",
    ]
