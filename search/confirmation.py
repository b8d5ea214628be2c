"""Winners are trained again with other seeds, so that what goes to hardware does not rest on one lucky training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from search.measured_trials import MeasuredPoint
from search.reports.study_report import StudyReport
from search.training_requests import TrainingPlace
from storage.database import Database
from storage.records import Evaluation, Replicate
from storage.replicates import record_replicate
from workers.requests import Completed, EvaluationRequest, Failed

if TYPE_CHECKING:  # it imports torch, which a finished study needs not
    from workers.pool import Pool

SEED_STEP = 1_000_003
"""From one seed of a network to its next: far beyond the seeds of the study's other trials."""

WAIT_S = 1.0


class ConfirmationError(Exception):
    """The machines failed, so that a network could not be trained again."""


def list_missing(place: TrainingPlace, report: StudyReport, points: Sequence[MeasuredPoint]) -> list[EvaluationRequest]:
    """The trainings that these points lack for the study's number of seeds."""
    requests = []
    for point in points:
        known = {replicate.seed for replicate in report.replicates.get(point.key, ())}
        seeds = ((point.evaluation.seed + k * SEED_STEP) % 2**32 for k in range(1, report.promotion.seeds))
        requests += [place.request_point(point, seed) for seed in seeds if seed not in known]
    return requests


def train_again(
    pool: Pool,
    requests: Sequence[EvaluationRequest],
    database: Database,
    max_attempts: int,
    on_step: Callable[[str], None],
) -> None:
    """Trains and records them, with what failed. What is finished stays recorded, whatever ends this process.

    One whose machine fails is tried again; raises ConfirmationError where that fails so often, after all others.
    """
    attempts = {request.identity: 1 for request in requests}
    lost: list[Failed] = []
    for request in requests:
        pool.submit(request)
    n_done, started = 0, time.monotonic()
    while n_done < len(requests):
        on_step(_describe_progress(len(requests), n_done, time.monotonic() - started))
        done = pool.next_done(WAIT_S)
        if isinstance(done, Failed) and done.is_infrastructure and attempts[done.request.identity] < max_attempts:
            attempts[done.request.identity] += 1
            pool.submit(done.request)
            continue
        if isinstance(done, Failed) and done.is_infrastructure:
            lost.append(done)
        elif isinstance(done, Failed):
            record_replicate(database, _make_failed(done))
        elif isinstance(done, Completed):
            record_replicate(database, _make_replicate(done.evaluations))
        n_done += done is not None
    if lost:
        raise ConfirmationError(
            f"trial {lost[0].trial_number} could not be trained with seed {lost[0].request.seed}: "
            f"its machine failed {max_attempts} times; {lost[0].traceback.strip().splitlines()[-1]}"
        )


def _make_failed(failed: Failed) -> Replicate:
    request = failed.request
    return Replicate(
        study_name=request.study_name,
        trial_number=request.trial_number,
        stage=len(request.design.stages),
        seed=request.seed,
        accuracy=None,
        inference_cost=None,
        n_frames=0,
        training_seconds=0.0,
        failure=failed.traceback,
    )


def _make_replicate(evaluations: Sequence[Evaluation]) -> Replicate:
    last = evaluations[-1]
    return Replicate(
        study_name=last.study_name,
        trial_number=last.trial_number,
        stage=last.stage,
        seed=last.seed,
        accuracy=last.accuracy,
        inference_cost=last.cost.inference_cost,
        n_frames=last.n_frames,
        training_seconds=sum(evaluation.training_seconds for evaluation in evaluations),
    )


def _describe_progress(n_all: int, n_done: int, seconds: float) -> str:
    rest = f", about {seconds / n_done * (n_all - n_done) / 60:.0f} minutes left" if n_done else ""
    return f"training winners with other seeds: {n_done} of {n_all} done{rest}"
