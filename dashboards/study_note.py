"""The notes of a study and of its points in Optuna dashboard."""

from __future__ import annotations

from dashboards.build_text import build_sentences
from dashboards.metric_text import objective_text
from dashboards.study_tables import (
    BUILD_COUNTS_REMARK,
    builds_table,
    constraints_table,
    finished_trials,
    front_table,
    hardware_target,
)
from dashboards.text_table import plain_markdown, table_as_markdown
from search.points_study import points_study_name
from search.reports.study_report import StudyReport
from spaces.counts import count_of
from spaces.study_config import DatasetPart, StudyConfig
from storage.records import name_network


def study_note(report: StudyReport, config: StudyConfig) -> str:
    """The note as GitHub-flavoured Markdown; the same study gives the same text."""
    parts = [_description(report, config), *_hardware(report, config), _progress(report)]
    if report.has_stages:
        name = points_study_name(report.study_name)
        parts.append(f"The network at the end of each stage is a point. The study `{name}` has each as a trial.")
    if report.front:
        parts.append("### Pareto front\n\n" + table_as_markdown(front_table(report, with_architecture=False)))
    if report.builds:
        parts.append("### FINN builds\n\n" + _builds(report))
    parts.append(f"As one HTML file: `python -m dashboards.report_page {report.study_name} --out report.html`")
    return "\n\n".join(parts)


def points_note(study_name: str) -> str:
    """The note of the study that has the points of this one as trials."""
    return (
        f"The points of study `{study_name}`: the network at the end of each stage of its trials. Each is a "
        "trial here, and its user attributes `trial` and `stage` say of what. Nothing is searched or read here: "
        f"the study `{study_name}` has the plots, the notes and the numbers of its trials."
    )


def point_note(study_name: str, study_id: int, trial_number: int, stage: int) -> str:
    """The note of one of those trials: which point of which study it is."""
    name, trial = name_network(trial_number, stage).capitalize(), f"/dashboard/studies/{study_id}/trials"
    return f"**{name}** of study `{study_name}`. [The note of trial {trial_number}]({trial}?numbers={trial_number})"


def _description(report: StudyReport, config: StudyConfig) -> str:
    stages = len(config.pruning.stages)
    objectives = ", ".join(map(objective_text, report.objectives))
    return (
        f"Searches quantized networks for modulation classification by {objectives}: "
        f"{count_of(config.budget.trials, 'trial')} of {count_of(config.budget.epochs, 'epoch')} "
        f"and {count_of(stages, 'pruning stage')}, "
        f"sampler `{config.study.sampler}`, seed {config.study.seed}, data: {_dataset(config.dataset)}. "
        f"A network must reach an accuracy of **{100 * report.threshold:.4g}%**"
        f"{' and keep all constraints' if report.constraints else ''}."
    )


def _dataset(dataset: DatasetPart) -> str:
    if dataset.path is not None:
        return f"`{dataset.path}`"
    return f"the file in `RADIOML_2018_01A`, else a twin of profile `{dataset.twin.profile}`"


def _hardware(report: StudyReport, config: StudyConfig) -> list[str]:
    parts = [table_as_markdown(constraints_table(report))] if report.constraints else []
    if report.asks_for_hardware:
        parts.append(f"Hardware metrics are FINN's estimates: {hardware_target(config)}.")
    return parts


def _progress(report: StudyReport) -> str:
    best = report.best_feasible
    reached = "no network has reached the threshold yet"
    if best is not None:
        second = report.objectives[1].metric.describe(best)
        reached = f"the best that reaches the threshold is {best.name}: {second}"
    return f"{finished_trials(report)}; {reached}. Hypervolume {report.hypervolume:.4f}."


def _builds(report: StudyReport) -> str:
    parts = [table_as_markdown(builds_table(report)), BUILD_COUNTS_REMARK]
    for build in report.builds:
        points = [f"- {plain_markdown(sentence)}" for sentence in build_sentences(build)]
        parts.append("\n".join([f"{build.network.capitalize()}, build {build.build_id}:\n", *points]))
    return "\n\n".join(parts)
