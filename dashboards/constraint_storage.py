"""A study's constraints in the form of Optuna 4, the only one that Optuna dashboard 0.21 reads."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

import optuna_dashboard._app as dashboard_app
from optuna.storages import BaseStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard._pareto_front import get_pareto_front_trials

OLD_KEY = "constraints"
"""System attribute of Optuna 4: a list with all constraints of a trial. At most 0 means that one holds."""

NEW_PREFIX = "constraints:"
"""Optuna 5 has one system attribute per constraint: this prefix and the constraint's name."""


class ConstraintStorage(_CachedStorage):
    """Optuna's storage for the dashboard alone. Adds the old attribute to trials as they are read; never stores it."""

    def __init__(self, storage: BaseStorage) -> None:
        """Raises TypeError unless `storage` is in a database."""
        if not isinstance(storage, _CachedStorage):
            raise TypeError(f"storage is a {type(storage).__name__}; expected what open_optuna_storage gives")
        self.__dict__ = storage.__dict__  # one cache, so that the refresher sees a study deleted here

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Adds the old attribute to each trial with constraints, sorted by their names."""
        return [_with_old_key(trial) for trial in super().get_all_trials(study_id, deepcopy, states)]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Stores the trial without the old attribute. Renaming a study copies its trials through here."""
        return super().create_new_trial(study_id, template_trial and _without_old_key(template_trial))


def leave_infeasible_out_of_best_trials() -> None:
    """From now on, the dashboard's best trials in this process are the front of the feasible ones.

    Version 0.21 compares all complete trials, whatever their constraints. A second call changes nothing.
    """
    dashboard_app.get_pareto_front_trials = feasible_front


def feasible_front(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The Pareto front of the complete trials whose constraints all hold."""
    feasible = [trial for trial in trials if all(value <= 0 for value in trial.constraints.values())]
    return list(get_pareto_front_trials(trials=feasible, directions=directions))


def _with_old_key(trial: FrozenTrial) -> FrozenTrial:
    if not trial.constraints:
        return trial
    values = [value for _, value in sorted(trial.constraints.items())]  # the database has no order
    return _with_system_attrs(trial, {**trial.system_attrs, OLD_KEY: values})


def _without_old_key(trial: FrozenTrial) -> FrozenTrial:
    if not any(name.startswith(NEW_PREFIX) for name in trial.system_attrs):
        return trial  # written by Optuna 4, not by us
    return _with_system_attrs(trial, {name: value for name, value in trial.system_attrs.items() if name != OLD_KEY})


def _with_system_attrs(trial: FrozenTrial, attributes: dict[str, object]) -> FrozenTrial:
    other = copy.copy(trial)  # the original is in a cache that all requests share
    other._system_attrs = attributes
    return other
