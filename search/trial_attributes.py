"""A trial's user attributes in Optuna: a view for Optuna dashboard, and the few facts that have no other home.

Evaluations and estimates are read from our tables. From here are read: the design, which trial it was copied from, the
keys of its estimates, its parent, its place in a campaign, why it was stopped or failed, and how often its worker died.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from spaces.search_space import Design
from storage.hardware_reports import HardwareEstimate
from storage.stored_json import from_json

DESIGN = "design"
COPIED_FROM = "copied_from"
ESTIMATE_KEY = "estimate_key"
UNBUILDABLE = "unbuildable"
STOPPED = "stopped"
FAILURE = "failure"
TRACEBACK = "traceback"
BROKEN_ATTEMPTS = "broken_attempts"

CAMPAIGN_STAGE = "campaign_stage"
"""Of a staged campaign: the index of the stage that the trial belongs to."""

ROUNDS = "pruning_rounds"
"""How many of the study's pruning stages the trial has; without it, all."""

GRID_PLACE = "grid_place"
"""Of the sampler grid: which of the combinations it is, counted on through all replicates."""

PARENT = "parent_trial"
"""Number of the trial whose weights, trained but not pruned, this one begins with."""

BASE = "base_trial"
"""Number of the trial whose network a stage of a campaign begins with."""

MEASURED = "bit_ops"
"""Only a search writes it: trials that somebody completed in Optuna dashboard have none."""


def set_attributes(trial: Trial, attributes: Mapping[str, object]) -> bool:
    """False where somebody finished the trial in Optuna dashboard."""
    try:
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
    except UpdateFinishedTrialError:
        return False
    return True


def is_measured(trial: FrozenTrial) -> bool:
    """Whether a search measured the trial before it was finished."""
    return MEASURED in trial.user_attrs


def is_stopped(trial: FrozenTrial) -> bool:
    """Whether a search stopped the trial at a rung."""
    return trial.state is TrialState.PRUNED and STOPPED in trial.user_attrs


def read_design(trial: FrozenTrial) -> Design | None:
    """None where the trial lacks some values, or cannot be built."""
    text = trial.user_attrs.get(DESIGN)
    return None if text is None else Design.model_validate_json(text)


def read_estimate_keys(trial: FrozenTrial) -> tuple[str, ...]:
    """Of the estimates that the trial was told with: one of all its stages, or one for each."""
    keys = trial.user_attrs.get(ESTIMATE_KEY, [])
    return (keys,) if isinstance(keys, str) else tuple(keys)


def read_hardware(trial: FrozenTrial) -> HardwareEstimate | None:
    """The estimate that the trial was told with. For trials told before its key was kept: they have it only here."""
    names = [field.name for field in fields(HardwareEstimate)]
    if not set(names) <= trial.user_attrs.keys():
        return None
    return from_json(HardwareEstimate, {name: trial.user_attrs[name] for name in names})


def read_copied_from(trial: FrozenTrial) -> int | None:
    """The earlier trial of the same design, whose evaluations this one has."""
    number: int | None = trial.user_attrs.get(COPIED_FROM)
    return number


def read_campaign_stage(trial: FrozenTrial) -> int | None:
    """The stage of a campaign that the trial belongs to, from 0."""
    index: int | None = trial.user_attrs.get(CAMPAIGN_STAGE)
    return index


def read_base(trial: FrozenTrial) -> int | None:
    """Number of the trial that this one of a campaign goes on from."""
    number: int | None = trial.user_attrs.get(BASE)
    return number


def read_end(trial: FrozenTrial) -> str | None:
    """Why the trial was stopped or failed."""
    reasons = (trial.user_attrs.get(name) for name in (UNBUILDABLE, STOPPED, TRACEBACK))
    reason: str | None = next(filter(None, reasons), None)
    return reason
