"""Completely measured trials: their designs, evaluations and hardware estimates, read from our tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import trial_attributes
from spaces.search_space import Design
from storage.database import Database
from storage.estimates import load_estimates
from storage.evaluations import load_evaluations
from storage.hardware_reports import HardwareEstimate
from storage.records import Cost, Estimate, Evaluation


@dataclass(frozen=True)
class MeasuredTrial:
    """A trial whose network is trained, pruned and measured."""

    trial_number: int
    design: Design
    evaluations: tuple[Evaluation, ...]
    """One for each stage, in order."""
    hardware: HardwareEstimate | None = None
    """None where the study asks for no hardware."""
    estimate_key: str | None = None
    """Of that estimate in the database."""
    copied_from: int | None = None
    """An earlier trial of the same design, whose evaluations these are."""

    @property
    def last(self) -> Evaluation:
        """Of the network as it is at the end of its last stage."""
        return self.evaluations[-1]

    @property
    def accuracy(self) -> float:
        """After the last stage, of validation frames."""
        return self.last.accuracy

    @property
    def cost(self) -> Cost:
        """After the last stage."""
        return self.last.cost

    @property
    def inference_cost(self) -> float:
        """After the last stage."""
        return self.cost.inference_cost


def load_measured_trials(database: Database, study: optuna.Study) -> tuple[MeasuredTrial, ...]:
    """The complete trials in the order they were asked, by one query for each table.

    Leaves out trials that somebody completed in Optuna dashboard: nothing was measured of them.
    """
    told = list_told_trials(study)
    evaluations = group_by_trial(load_evaluations(database, study.study_name))
    keys = {key for trial in told if (key := trial_attributes.read_estimate_key(trial))}
    estimates = load_estimates(database, keys)
    return tuple(
        _measured_trial(trial, evaluations[trial.number], estimates) for trial in told if trial.number in evaluations
    )


def list_told_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that a search told COMPLETE, in the order they were asked."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in complete if trial_attributes.is_measured(trial)]


def group_by_trial(evaluations: Iterable[Evaluation]) -> Mapping[int, tuple[Evaluation, ...]]:
    """By trial number; each trial's by stage, as they were loaded."""
    numbers = groupby(evaluations, key=lambda evaluation: evaluation.trial_number)
    return {number: tuple(own) for number, own in numbers}


def _measured_trial(
    trial: FrozenTrial, evaluations: tuple[Evaluation, ...], estimates: Mapping[str, Estimate]
) -> MeasuredTrial:
    design, key = trial_attributes.read_design(trial), trial_attributes.read_estimate_key(trial)
    assert design is not None  # it is kept before a trial is trained
    estimate = None if key is None else estimates.get(key)
    return MeasuredTrial(
        trial_number=trial.number,
        design=design,
        evaluations=evaluations,
        hardware=trial_attributes.read_hardware(trial) if estimate is None else estimate.hardware,
        estimate_key=key,
        copied_from=trial_attributes.read_copied_from(trial),
    )
