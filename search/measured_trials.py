"""Completely measured trials, and their points: the network at the end of each stage. Read from our tables."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import trial_attributes
from search.objectives import keeps_all, study_constraints
from spaces.architecture import ArchitectureConfig
from spaces.campaign_stages import choose
from spaces.search_space import Design
from spaces.study_config import StudyConfig
from storage.database import Database
from storage.estimates import load_estimates
from storage.evaluations import load_evaluations
from storage.hardware_reports import HardwareEstimate
from storage.records import Cost, Estimate, Evaluation, name_network


@dataclass(frozen=True)
class MeasuredTrial:
    """A trial whose network is trained, pruned stage by stage, and measured after each stage."""

    trial_number: int
    design: Design
    evaluations: tuple[Evaluation, ...]
    """One for each stage, in order."""
    hardware: tuple[HardwareEstimate, ...] = ()
    """FINN's estimates, one for each stage, which may have removed channels. Empty where the study asks for none."""
    estimate_keys: tuple[str, ...] = ()
    """Of these estimates in the database."""
    copied_from: int | None = None
    """An earlier trial of the same design, whose evaluations these are."""
    is_stopped: bool = False
    """Whether it was stopped early: then these are the stages that it finished."""
    campaign_stage: int | None = None
    """The stage of a campaign that it belongs to, from 0."""
    base: int | None = None
    """Number of the trial whose network that stage begins with; None: with none."""

    @property
    def points(self) -> tuple[MeasuredPoint, ...]:
        """The trial's lineage: its networks in the order of the stages, each made from the one before it."""
        hardware = self.hardware or (None,) * len(self.evaluations)
        return tuple(MeasuredPoint(self, *of_stage) for of_stage in zip(self.evaluations, hardware, strict=True))

    @property
    def last(self) -> MeasuredPoint:
        """The network at the end of the last stage. Its values are the trial's own in Optuna, if that is complete."""
        return self.points[-1]


@dataclass(frozen=True)
class MeasuredPoint:
    """One network of a study: that of a trial at the end of one of its stages."""

    trial: MeasuredTrial
    evaluation: Evaluation
    hardware: HardwareEstimate | None = None
    """FINN's estimate of this network. None where the study asks for no hardware."""

    @property
    def trial_number(self) -> int:
        """In its study, from 0."""
        return self.trial.trial_number

    @property
    def stage(self) -> int:
        """0 is training; 1, 2, ... are the pruning stages."""
        return self.evaluation.stage

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from all other points of its study: trial number and stage."""
        return self.trial_number, self.stage

    @property
    def name(self) -> str:
        """Such as "trial 7 stage 2", or "trial 7" where a whole trial has one stage."""
        if len(self.trial.evaluations) == 1 and not self.trial.is_stopped:
            return f"trial {self.trial_number}"
        return name_network(self.trial_number, self.stage)

    @property
    def design(self) -> Design:
        """Of its trial, with the stages that come after this one."""
        return self.trial.design

    @property
    def target_inference_cost(self) -> float | None:
        """The cost that its stage was to prune down to; None where that has no such target."""
        return None if self.stage == 0 else getattr(self.design.stages[self.stage - 1], "inference_cost", None)

    @property
    def architecture(self) -> ArchitectureConfig:
        """Of this network: a stage may have removed channels of its trial's."""
        return self.evaluation.architecture or self.design.architecture

    @property
    def accuracy(self) -> float:
        """Of validation frames."""
        return self.evaluation.accuracy

    @property
    def cost(self) -> Cost:
        """With what this stage and those before it have pruned."""
        return self.evaluation.cost

    @property
    def inference_cost(self) -> float:
        """The challenge's score."""
        return self.cost.inference_cost


def load_measured_trials(
    database: Database, study: optuna.Study, known: Container[int] = ()
) -> tuple[MeasuredTrial, ...]:
    """The trials that have points in the order they were asked, without those that are known already.

    These are the complete ones, and those that were stopped early after they finished a stage. Leaves out trials that
    somebody completed in Optuna dashboard: nothing was measured of them.
    """
    stopped = [trial for trial in study.get_trials(deepcopy=False) if trial_attributes.is_stopped(trial)]
    all_told = sorted([*list_told_trials(study), *stopped], key=lambda trial: trial.number)
    told = [trial for trial in all_told if trial.number not in known]
    if not told:
        return ()
    evaluations = group_by_trial(load_evaluations(database, study.study_name, from_trial=told[0].number))
    keys = {key for trial in told for key in trial_attributes.read_estimate_keys(trial)}
    estimates = load_estimates(database, keys)
    return tuple(
        _measured_trial(trial, evaluations[trial.number], estimates) for trial in told if trial.number in evaluations
    )


def list_chosen(trials: Iterable[MeasuredTrial], config: StudyConfig) -> list[int | None]:
    """Of each stage of a campaign the trial whose network it hands on; None where it has none yet.

    Networks that break a constraint are handed on only where no other is there.
    """
    constraints = study_constraints(config)
    by_stage: dict[int | None, list[MeasuredTrial]] = {}
    for trial in trials:
        by_stage.setdefault(trial.campaign_stage, []).append(trial)
    numbers: list[int | None] = []
    for index, stage in enumerate(config.stages):
        measured = by_stage.get(index, [])
        own = [trial for trial in measured if keeps_all(constraints, trial.last)] or measured
        networks = [(trial.last.accuracy, trial.last.inference_cost) for trial in own]
        chosen = choose(networks, stage.select, 1 / config.space.n_classes)
        numbers.append(None if chosen is None else own[chosen].trial_number)
    return numbers


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
    design, keys = trial_attributes.read_design(trial), trial_attributes.read_estimate_keys(trial)
    assert design is not None  # it is kept before a trial is trained
    keys = keys * len(evaluations) if len(keys) == 1 else keys
    found = [estimate.hardware for key in keys if (estimate := estimates.get(key)) is not None]
    hardware = [one for one in found if one is not None]
    if len(hardware) < len(evaluations):
        told_with = trial_attributes.read_hardware(trial)
        hardware = [] if told_with is None else [told_with] * len(evaluations)
    return MeasuredTrial(
        trial_number=trial.number,
        design=design,
        evaluations=evaluations,
        hardware=tuple(hardware),
        estimate_keys=keys,
        copied_from=trial_attributes.read_copied_from(trial),
        is_stopped=trial_attributes.is_stopped(trial),
        campaign_stage=trial_attributes.read_campaign_stage(trial),
        base=trial_attributes.read_base(trial),
    )
