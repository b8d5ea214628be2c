"""What a search believes at the end of a run: which values matter, and whether more training still pays."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from search.measured_trials import MeasuredTrial
from search.objectives import measure_hypervolume
from search.reports.study_report import StudyReport

LEAST_TRIALS = 10
"""Complete trials before importances say anything."""

N_SHOWN = 4
"""Values named for each objective."""

SHARE = 0.25
"""The last part of the training that is compared with the whole."""


def describe_beliefs(study: optuna.Study, report: StudyReport) -> list[str]:
    """A line for each objective, and one on what the last quarter of the training gave. Empty after few trials."""
    if report.counts.complete < LEAST_TRIALS:
        return []
    return [*_describe_importances(study, report), *_describe_gain(report)]


def rank_values(study: optuna.Study, objective: int) -> Mapping[str, float]:
    """The share of each value in what tells good trials from others, the most important first; they add up to 1.

    Of the values that all complete trials have (PED-ANOVA, Watanabe et al., IJCAI 2023).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental, and says when all trials have one value
        return get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(), target=lambda trial: trial.values[objective]
        )


def shorten_path(path: str) -> str:
    """`space.blocks[2].kernel_size` as `b2 kernel_size`, `pruning.stages[0].inference_cost` as `s1 inference_cost`."""
    block = re.fullmatch(r"space\.blocks\[(\d+)\]\.(?:times\[(\d+)\]\.blocks\[(\d+)\]\.)?(\w+)", path)
    if block is not None:
        place = ".".join(number for number in block.groups()[:3] if number is not None)
        return f"b{place} {block[4]}"
    stage = re.fullmatch(r"pruning\.stages\[(\d+)\]\.(\w+)", path)
    return f"s{int(stage[1]) + 1} {stage[2]}" if stage is not None else path.removeprefix("training.")


def measure_recent_gain(trials: Sequence[MeasuredTrial], report: StudyReport) -> tuple[float, float, float]:
    """Hypervolume that the last quarter of the training added, that of all, and the hours of training of all."""
    spent = [sum(evaluation.training_seconds for evaluation in trial.evaluations) for trial in trials]
    total, until, before = sum(spent), 0.0, []
    for trial, seconds in zip(trials, spent, strict=True):
        until += seconds
        if until <= (1 - SHARE) * total:
            before.append(trial)
    feasible = [point for trial in before for point in trial.points if report.is_feasible(point)]
    volume = measure_hypervolume(report.objectives, feasible)
    return report.hypervolume - volume, report.hypervolume, total / 3600


def _describe_importances(study: optuna.Study, report: StudyReport) -> list[str]:
    lines = []
    for index, objective in enumerate(report.objectives):
        values = rank_values(study, index)
        named = [f"{shorten_path(path)} {share:.0%}" for path, share in list(values.items())[:N_SHOWN] if share >= 0.01]
        if named:
            lines.append(f"{objective.metric.label} depends most on: {', '.join(named)}")
    return lines


def _describe_gain(report: StudyReport) -> list[str]:
    gain, volume, hours = measure_recent_gain(report.trials, report)
    if not volume:
        return []
    return [f"the last quarter of {hours:.1f} hours of training added {gain / volume:.1%} of the hypervolume"]
