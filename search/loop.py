"""Asks for designs, hands them to the pool, and tells what became of each, until the budget or the time is used up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

import optuna

from search.budget import Limits, describe_budget
from search.driver_lease import DriverLease
from search.interrupts import Interrupts, SearchInterrupted
from search.report import count_trials
from search.study import (
    RunningTrial,
    adopt_trials,
    ask_trial,
    completed_designs,
    count_attempt,
    tell_copied_result,
    tell_failure,
    tell_result,
)
from spaces.study_config import StudyConfig
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.evaluations import load_trial_evaluations, record_evaluation
from storage.studies import load_study_record
from workers.evaluation import DatasetRequest, EvaluationRequest
from workers.pool import Completed, Failed, Pool

WAIT_S = 1.0
MAX_FAILURES_IN_A_ROW = 3


class StopReason(Enum):
    """Why the search ended."""

    BUDGET = "the budget is used up"
    TIME_LIMIT = "the time limit is reached"
    INTERRUPTED = "interrupted"
    FAILURES = "failures of one kind in a row"


@dataclass(frozen=True)
class SearchOutcome:
    """How the search ended."""

    reason: StopReason
    message: str


@dataclass
class Search:
    """One run of the loop: its parts, and the trials that are with the pool."""

    config: StudyConfig
    study: optuna.Study
    database: Database
    artifacts: ArtifactStore
    dataset: DatasetRequest
    pool: Pool
    lease: DriverLease
    interrupts: Interrupts
    limits: Limits
    on_change: Callable[[Search], None] = lambda _: None
    on_notice: Callable[[str], None] = lambda _: None
    running: dict[int, RunningTrial] = field(default_factory=dict)
    requests: dict[int, EvaluationRequest] = field(default_factory=dict)
    """What was submitted for each trial, by its number."""
    started: float = field(default_factory=time.monotonic)
    failure_kinds: list[str] = field(default_factory=list)
    """Of the failures since the last trial that succeeded."""


def run_search(search: Search) -> SearchOutcome:
    """Runs until the first limit. Trials that still run then stay RUNNING, for the next run to adopt.

    Every trial that is asked is told exactly once, by this run or a later one. Raises LeaseLostError.
    """
    designs = completed_designs(search.study)
    for trial in adopt_trials(search.study, search.config.search_space):
        search.on_notice(f"trial {trial.number} goes on where an earlier run left it")
        _start(search, trial, designs)
    while (outcome := _find_outcome(search)) is None:
        search.lease.check()
        while _has_room(search):
            asked = ask_trial(search.study, search.config.search_space)
            if asked is not None:
                _start(search, asked, designs)
            search.on_change(search)
        try:
            with search.interrupts.breakable():
                done = search.pool.next_done(WAIT_S)
        except SearchInterrupted:
            continue
        search.lease.check()
        if done is not None:
            _settle(search, done, designs)
        search.on_change(search)
    return outcome


def _find_outcome(search: Search) -> SearchOutcome | None:
    limits, kinds = search.limits, search.failure_kinds
    if search.interrupts.is_requested:
        return SearchOutcome(StopReason.INTERRUPTED, "interrupted")
    if len(kinds) >= MAX_FAILURES_IN_A_ROW and len(set(kinds[-MAX_FAILURES_IN_A_ROW:])) == 1:
        return SearchOutcome(StopReason.FAILURES, f"{MAX_FAILURES_IN_A_ROW} trials in a row failed with {kinds[-1]}")
    if limits.time_limit_s is not None and time.monotonic() - search.started >= limits.time_limit_s:
        advice = "run again, the study goes on from here (an --extend is remembered)"
        message = f"the time limit of {limits.time_limit_s:.0f} s is reached; {advice}"
        return SearchOutcome(StopReason.TIME_LIMIT, message)
    counts = count_trials(search.study)
    if not search.running and not limits.wants_more(counts):
        return SearchOutcome(StopReason.BUDGET, describe_budget(counts, limits))
    return None


def _has_room(search: Search) -> bool:
    """One trial more than runs at once, so that no worker waits for the sampler."""
    counts = count_trials(search.study)
    most = search.pool.capacity() + 1
    most = min(most, search.config.workers.max_concurrent or most)
    return len(search.running) < most and not search.interrupts.is_requested and search.limits.wants_more(counts)


def _start(search: Search, trial: RunningTrial, designs: dict[str, int]) -> None:
    original = designs.get(trial.design.model_dump_json())
    if original is None:
        _submit(search, trial)
    else:
        _copy_result(search, trial, original)


def _copy_result(search: Search, trial: RunningTrial, original: int) -> None:
    study_name = search.config.study.name
    measured = load_trial_evaluations(search.database, study_name, original)
    evaluations = [replace(e, trial_number=trial.number, training_seconds=0.0) for e in measured]
    for evaluation in evaluations:
        record_evaluation(search.database, evaluation)
    tell_copied_result(search.study, trial.trial, original, evaluations)


def _submit(search: Search, trial: RunningTrial) -> None:
    study, workers = search.config.study, search.config.workers
    request = EvaluationRequest(
        study_name=study.name,
        trial_number=trial.number,
        design_json=trial.design.model_dump_json(),
        seed=study.seed + trial.number,
        dataset=search.dataset,
        artifacts=str(search.artifacts.root),
        study_started=_find_start(search),
        n_threads=max(1, int(workers.cpus_per_trial)),
        use_gpu=workers.gpus_per_trial > 0,
    )
    search.running[trial.number] = trial
    search.requests[trial.number] = request
    search.pool.submit(request)


def _find_start(search: Search) -> str:
    record = load_study_record(search.database, search.config.study.name)
    assert record is not None  # open_study keeps it
    return record.created_at.isoformat()


def _settle(search: Search, done: Completed | Failed, designs: dict[str, int]) -> None:
    trial = search.running.pop(done.trial_number)
    if isinstance(done, Completed):
        search.failure_kinds.clear()
        for evaluation in done.evaluations:
            record_evaluation(search.database, evaluation)
        if tell_result(search.study, trial.trial, done.evaluations):
            designs.setdefault(trial.design.model_dump_json(), trial.number)
        else:
            search.on_notice(f"trial {trial.number} was finished elsewhere; its result is kept, but not told")
    elif done.is_infrastructure and count_attempt(trial.trial) < search.config.workers.max_attempts:
        search.on_notice(f"trial {trial.number} lost its worker ({done.kind}); it starts again")
        _submit(search, trial)
    else:
        search.failure_kinds.append(done.kind)
        search.on_notice(f"trial {trial.number} failed: {done.traceback.strip().splitlines()[-1]}")
        tell_failure(search.study, trial.trial, done.kind, done.traceback)
