"""Every stage's end as a trial of Optuna's own, in a second study beside the search's.

The search's study has one trial per trained design, and its samplers learn from nothing else. The points' study has a
complete trial for each stage of each of them, so that Optuna shows the whole front. It is a view of what our tables
hold: nothing is read back from it, and what is missing in it is added again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, create_trial

from search.measured_trials import MeasuredPoint, MeasuredTrial
from search.objectives import study_constraints, study_objectives
from search.optuna_storage import open_optuna_study
from spaces.study_config import StudyConfig

SUFFIX = ": all stages"
"""No study file may name a study like this: a name of ours has neither colons nor spaces."""

TRIAL, STAGE = "trial", "stage"
"""User attributes of a point: its trial's number in the search's study, and its stage."""


def points_study_name(study_name: str) -> str:
    """Of the points of this study."""
    return f"{study_name}{SUFFIX}"


def read_search_study_name(points_study_name: str) -> str | None:
    """The study whose points these are; None where it is no study of points."""
    name = points_study_name.removesuffix(SUFFIX)
    return None if name == points_study_name else name


def read_key(point: FrozenTrial) -> tuple[int, int] | None:
    """Trial number and stage of a trial of the points' study; None where somebody else put it there."""
    if not {TRIAL, STAGE} <= point.user_attrs.keys():
        return None
    return point.user_attrs[TRIAL], point.user_attrs[STAGE]


def add_points(study: optuna.Study, config: StudyConfig, trials: Sequence[MeasuredTrial]) -> None:
    """Adds the points of these trials that are not there yet; each becomes one complete trial, in one transaction.

    Makes the study of points with the first. Studies without pruning stages have none: each trial is its own point.
    Call with the study's lease.
    """
    points = [point for trial in trials if trial.design.stages for point in trial.points]
    if not points:
        return
    view = open_optuna_study(study._storage, points_study_name(study.study_name), study_objectives(config))
    known = {read_key(trial) for trial in view.get_trials(deepcopy=False)}
    missing = [point for point in points if point.key not in known]
    told = {trial.number: trial for trial in study.get_trials(deepcopy=False)} if missing else {}
    for point in missing:
        view.add_trial(_as_trial(point, told[point.trial_number], config))


def forget_points(storage: BaseStorage, study_name: str) -> None:
    """Deletes the points of a study that starts anew."""
    name = points_study_name(study_name)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)


def _as_trial(point: MeasuredPoint, told: FrozenTrial, config: StudyConfig) -> FrozenTrial:
    """With the parameters that the network depends on: not those of later stages."""
    params = {name: value for name, value in told.params.items() if not _is_later(name, point.stage)}
    return create_trial(
        values=[objective.metric.read(point) for objective in study_objectives(config)],
        params=params,
        distributions={name: told.distributions[name] for name in params},
        constraints={bound.name: bound.excess(point) for bound in study_constraints(config)},
        user_attrs=_describe(point),
    )


def _is_later(parameter: str, stage: int) -> bool:
    """Whether the parameter is of a pruning stage after this one. Stage 1 is the first of `pruning.stages`."""
    match = re.match(r"pruning\.stages\[(\d+)\]", parameter)
    return match is not None and int(match[1]) >= stage


def _describe(point: MeasuredPoint) -> dict[str, object]:
    target = point.target_inference_cost
    return {
        TRIAL: point.trial_number,
        STAGE: point.stage,
        "epochs": point.evaluation.epochs,
        "bit_ops": point.cost.bit_ops,
        "weight_bits": point.cost.weight_bits,
        "parameters": point.cost.parameters,
        **({} if target is None else {"target_inference_cost": target}),
    }
