"""The search: asks for designs, has them trained and estimated, and tells the results, until a limit is reached."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import optuna

from search.budget import Limits, describe_budget
from search.hardware_estimates import HardwareEstimates
from search.measured_trials import MeasuredTrial
from search.next_trials import NextTrials
from search.processes.driver_lease import DriverLease
from search.processes.interrupts import Interrupts, SearchInterrupted
from search.reports.study_report import count_trials
from search.strategy.early_stopping import EarlyStopping
from search.study import (
    RunningTrial,
    adopt_trials,
    ask_trial,
    completed_designs,
    count_attempt,
    stopped_designs,
    tell_failure,
    tell_measured,
    tell_stopped,
    tell_unbuildable,
)
from search.training_requests import TrainingPlace
from spaces.architecture import NOT_QUANTIZED, ArchitectureConfig
from spaces.counts import count_of
from spaces.search_space import Design
from spaces.study_config import StudyConfig
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.evaluations import load_trial_evaluations, record_evaluation
from storage.records import Estimate, EstimateState, Evaluation
from storage.studies import load_study_record
from workers.requests import Completed, DatasetRequest, EvaluationRequest, Paused

if TYPE_CHECKING:  # it imports torch, which a finished study needs not
    from workers.pool import Done, Pool

WAIT_S = 1.0
ESTIMATE_POLL_S = 0.5
MAX_FAILURES_IN_A_ROW = 3
WAITING_PER_WORKER = 2
"""Trained trials that may wait for estimates, per training slot: with more, the sampler would know too few results."""

ESTIMATE_FAILURE = "EstimateFailed"
"""The kind of a failure where FINN's estimate failed."""


class StopReason(Enum):
    """Why a search ended."""

    BUDGET = "the budget is used up"
    TIME_LIMIT = "the time limit is reached"
    INTERRUPTED = "interrupted"
    FAILURES = "failures of one kind in a row"
    NO_ESTIMATES = "nobody makes the estimates that trials wait for"


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended."""

    reason: StopReason
    message: str


@dataclass(frozen=True)
class TrainedTrial:
    """A trial that is trained, and whose evaluations are in the database."""

    trial: RunningTrial
    evaluations: Sequence[Evaluation]
    copied_from: int | None = None

    @property
    def architectures(self) -> list[ArchitectureConfig]:
        """Of each stage's network."""
        return [evaluation.architecture or self.trial.design.architecture for evaluation in self.evaluations]


@dataclass
class Search:
    """One run of the search: what it works with, the trials in the pool, and those that wait for an estimate."""

    config: StudyConfig
    study: optuna.Study
    database: Database
    artifacts: ArtifactStore
    dataset: DatasetRequest
    lease: DriverLease
    interrupts: Interrupts
    limits: Limits
    on_change: Callable[[Search], None] = lambda _: None
    on_notice: Callable[[str], None] = lambda _: None
    estimates: HardwareEstimates | None = None
    """None where the study asks for no hardware."""
    find_estimate_problem: Callable[[], str | None] = lambda: None
    """Says in one line why no more estimates will be made; None while they are."""
    pool: Pool = field(init=False)
    """Set before the search begins; a finished study needs none."""
    early_stopping: EarlyStopping = field(init=False)
    """Set before the search begins."""
    next_trials: NextTrials = field(init=False)
    """Set before the search begins."""
    designs: dict[Design, int] = field(default_factory=dict)
    """Number of the first complete trial of each design."""
    stopped: dict[Design, int] = field(default_factory=dict)
    """Number of the first trial of each design that was stopped early."""
    running: dict[int, RunningTrial] = field(default_factory=dict)
    waiting: dict[int, TrainedTrial] = field(default_factory=dict)
    """Trained but not yet estimated, by number, in the order they were trained."""
    retried: dict[int, bool] = field(default_factory=dict)
    """Trials of `waiting` whose estimate failed, and whether it was requested again. Meanwhile no trial starts."""
    requests: dict[int, EvaluationRequest] = field(default_factory=dict)
    """What was submitted to the pool, by trial number."""
    started: float = field(default_factory=time.monotonic)
    failure_kinds: list[str] = field(default_factory=list)
    """Kinds of the failures since the last trial that succeeded."""

    @functools.cached_property
    def place(self) -> TrainingPlace:
        """What its trainings have in common."""
        record = load_study_record(self.database, self.config.study.name)
        assert record is not None  # open_study keeps it
        return TrainingPlace(self.config, self.dataset, self.artifacts.root, record.created_at.isoformat())


def run_search(search: Search) -> SearchOutcome:
    """Runs until the first limit. Trials that still run then stay RUNNING, and the next run adopts them.

    Each trial is told exactly once, by this run or a later one. Raises LeaseLostError.
    """
    search.designs, search.stopped = completed_designs(search.study), stopped_designs(search.study)
    search.early_stopping = EarlyStopping(search.database, search.config)
    search.next_trials = NextTrials(search.config, search.database)
    for trial in adopt_trials(search.study, search.config.search_space):
        search.on_notice(f"trial {trial.number} goes on where an earlier run left it")
        _start(search, trial)
    while (outcome := _find_outcome(search)) is None:
        search.lease.check()
        while _has_room(search):
            following = search.next_trials.find(search.study)
            if following is None:
                break  # the next stage of a campaign begins when all trials of this one are told
            asked = ask_trial(search.study, search.config.search_space, following.values, following.attributes)
            if asked is not None:
                _start(search, asked)
            search.on_change(search)
        try:
            with search.interrupts.breakable():
                done = _wait(search)
        except SearchInterrupted:
            continue
        search.lease.check()
        if done is not None:
            _settle(search, done)
        _settle_waiting(search)
        search.on_change(search)
    return outcome


def _wait(search: Search) -> Done | None:
    if search.waiting and not search.running:
        time.sleep(ESTIMATE_POLL_S)
        return None
    return search.pool.next_done(WAIT_S)


def _find_outcome(search: Search) -> SearchOutcome | None:
    limits, kinds = search.limits, search.failure_kinds
    if search.interrupts.is_requested:
        return SearchOutcome(StopReason.INTERRUPTED, f"interrupted{_describe_waiting(search)}")
    if len(kinds) >= MAX_FAILURES_IN_A_ROW and len(set(kinds[-MAX_FAILURES_IN_A_ROW:])) == 1:
        return SearchOutcome(StopReason.FAILURES, f"{MAX_FAILURES_IN_A_ROW} trials in a row failed with {kinds[-1]}")
    if limits.time_limit_s is not None and time.monotonic() - search.started >= limits.time_limit_s:
        advice = "run again, the study goes on from here (an --extend is remembered)"
        message = f"the time limit of {limits.time_limit_s:.0f} s is reached{_describe_waiting(search)}; {advice}"
        return SearchOutcome(StopReason.TIME_LIMIT, message)
    if search.waiting and (problem := search.find_estimate_problem()):
        return SearchOutcome(StopReason.NO_ESTIMATES, _describe_missing_estimates(search, problem))
    counts = count_trials(search.study)
    if not search.running and not search.waiting and not limits.wants_more(counts):
        return SearchOutcome(StopReason.BUDGET, describe_budget(counts, limits))
    if not search.running and not search.waiting and (end := search.next_trials.describe_end(search.study)):
        return SearchOutcome(StopReason.BUDGET, end)
    return None


def _describe_waiting(search: Search) -> str:
    """How many trials lack nothing but FINN's estimate."""
    if not search.waiting:
        return ""
    verb = "is" if len(search.waiting) == 1 else "are"
    return f"; {count_of(len(search.waiting), 'trial')} {verb} trained and still without FINN's estimate"


def _describe_missing_estimates(search: Search, problem: str) -> str:
    numbers = ", ".join(map(str, search.waiting))
    return (
        f"{problem}; trials {numbers} are trained and wait for their estimates: run again, the study goes on from here"
    )


def _has_room(search: Search) -> bool:
    """Whether to ask for a trial: one more than run at once, so that no worker waits for the sampler."""
    counts = count_trials(search.study)
    capacity = search.pool.capacity()
    most = min(capacity + 1, search.config.workers.max_concurrent or capacity + 1)
    return (
        len(search.running) < most
        and len(search.waiting) < WAITING_PER_WORKER * capacity
        and not search.retried
        and not search.interrupts.is_requested
        and search.limits.wants_more(counts)
    )


def _start(search: Search, trial: RunningTrial) -> None:
    """Requests the estimate, then submits the trial; both run side by side. What FINN refuses is not trained."""
    refusal = None if search.estimates is None else _find_refusal(search.estimates, trial.design.architecture)
    if refusal is not None:
        tell_unbuildable(search.study, trial.trial, refusal)
        return
    is_replicate = search.config.study.replicates > 1
    original = None if is_replicate else search.designs.get(trial.design)
    earlier = None if is_replicate else search.stopped.get(trial.design)
    stop = search.early_stopping.find_stop(trial.number)
    if stop is not None:
        _stop(search, trial, stop, load_trial_evaluations(search.database, search.config.study.name, trial.number))
    elif original is not None:
        _copy_result(search, trial, original)
    elif earlier is not None:
        _stop(search, trial, f"the same design as trial {earlier}, which was stopped early", [])
    else:
        _submit(search, trial)


def _find_refusal(estimates: HardwareEstimates, architecture: ArchitectureConfig) -> str | None:
    """Requests the estimate. Returns the reason where FINN is known to refuse the network."""
    if not architecture.is_quantized:
        return NOT_QUANTIZED
    estimate = estimates.request(architecture)
    return _name_reason(estimate) if estimate.state is EstimateState.UNBUILDABLE else None


def _copy_result(search: Search, trial: RunningTrial, original: int) -> None:
    study_name = search.config.study.name
    measured = load_trial_evaluations(search.database, study_name, original)
    evaluations = [replace(e, trial_number=trial.number, training_seconds=0.0) for e in measured]
    _finish(search, TrainedTrial(trial, evaluations, original))


def _submit(search: Search, trial: RunningTrial) -> None:
    number = trial.number
    until = search.early_stopping.find_next(number, trial.design)
    request = search.place.request_next(trial, search.database, until)
    search.running[number] = trial
    search.requests[number] = request
    search.pool.submit(request)


def _settle(search: Search, done: Done) -> None:
    trial = search.running.pop(done.trial_number)
    if isinstance(done, Completed):
        _finish(search, TrainedTrial(trial, done.evaluations))
    elif isinstance(done, Paused):
        _settle_rung(search, trial, done)
    elif done.is_infrastructure and count_attempt(trial.trial) < search.config.workers.max_attempts:
        search.on_notice(f"trial {trial.number} lost its worker ({done.kind}); it starts again")
        _submit(search, trial)
    else:
        _fail(search, trial, done.kind, done.traceback)


def _settle_rung(search: Search, trial: RunningTrial, paused: Paused) -> None:
    """The trial goes on to its next rung, or is told."""
    for evaluation in paused.evaluations:
        record_evaluation(search.database, evaluation)
    search.early_stopping.settle(paused.result)
    stop = search.early_stopping.find_stop(trial.number)
    if stop is None:
        _submit(search, trial)
    else:
        _stop(search, trial, stop, paused.evaluations)


def _stop(search: Search, trial: RunningTrial, reason: str, evaluations: Sequence[Evaluation]) -> None:
    search.failure_kinds.clear()
    search.stopped.setdefault(trial.design, trial.number)
    measured = MeasuredTrial(trial.number, trial.design, tuple(evaluations), is_stopped=True) if evaluations else None
    tell_stopped(search.study, trial.trial, search.config, reason, measured)


def _finish(search: Search, trained: TrainedTrial) -> None:
    for evaluation in trained.evaluations:
        record_evaluation(search.database, evaluation)
    if search.estimates is None:
        _tell(search, trained, [])
        return
    search.waiting[trained.trial.number] = trained
    for architecture in set(trained.architectures) - {trained.trial.design.architecture}:
        search.estimates.request(architecture)  # the trial's own was requested at its start


def _settle_waiting(search: Search) -> None:
    """Tells the trained trials whose estimates have ended."""
    if search.estimates is None:
        return
    waiting = {number: trained.architectures for number, trained in search.waiting.items()}
    for number, estimates in search.estimates.look_up(waiting).items():
        by_state = {estimate.state: estimate for estimate in reversed(estimates)}  # the first of each state
        failed, unbuildable = by_state.get(EstimateState.FAILED), by_state.get(EstimateState.UNBUILDABLE)
        if failed is not None and not search.retried.get(number):
            _retry_estimates(search, number, failed)
            continue
        search.retried.pop(number, None)
        trained = search.waiting.pop(number)
        if unbuildable is not None:
            search.on_notice(f"trial {number} was trained, but cannot be built: {_name_reason(unbuildable)}")
            tell_unbuildable(search.study, trained.trial.trial, _name_reason(unbuildable))
        elif failed is not None:
            _fail(search, trained.trial, ESTIMATE_FAILURE, _name_reason(failed))
        else:
            _tell(search, trained, estimates)


def _retry_estimates(search: Search, number: int, failed: Estimate) -> None:
    """Requests them again once nothing trains: then all cores and memory are free. What is final is not made anew."""
    if number not in search.retried:
        search.on_notice(
            f"the estimate of trial {number} failed, and is made again when no trial trains: {_name_reason(failed)}"
        )
        search.retried[number] = False
    if not search.running and search.estimates is not None:
        for architecture in set(search.waiting[number].architectures):
            search.estimates.request(architecture)
        search.retried[number] = True


def _name_reason(estimate: Estimate) -> str:
    return estimate.message or f"the estimate is {estimate.state.value}"


def _tell(search: Search, trained: TrainedTrial, estimates: Sequence[Estimate]) -> None:
    """`estimates`: one for each stage, or none at all."""
    trial = trained.trial
    measured = MeasuredTrial(
        trial_number=trial.number,
        design=trial.design,
        evaluations=tuple(trained.evaluations),
        hardware=tuple(estimate.hardware for estimate in estimates if estimate.hardware is not None),
        estimate_keys=tuple(estimate.key for estimate in estimates),
        copied_from=trained.copied_from,
    )
    search.failure_kinds.clear()
    if tell_measured(search.study, trial.trial, search.config, measured):
        search.designs.setdefault(trial.design, trial.number)
    else:
        search.on_notice(f"trial {trial.number} was finished elsewhere; its result is kept, but not told")


def _fail(search: Search, trial: RunningTrial, kind: str, traceback: str) -> None:
    search.failure_kinds.append(kind)
    search.on_notice(f"trial {trial.number} failed: {traceback.strip().splitlines()[-1]}")
    tell_failure(search.study, trial.trial, kind, traceback)
