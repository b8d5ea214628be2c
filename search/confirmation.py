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

MAX_ATTEMPTS = 3
"""Of a training whose machine fails."""


class ConfirmationError(Exception):
    """A network could not be trained again."""


def list_missing(place: TrainingPlace, report: StudyReport, points: Sequence[MeasuredPoint]) -> list[EvaluationRequest]:
    """The trainings that these points lack for the study's number of seeds."""
    requests = []
    for point in points:
        known = {replicate.seed for replicate in report.replicates.get(point.key, ())}
        seeds = ((point.evaluation.seed + k * SEED_STEP) % 2**32 for k in range(1, report.promotion.seeds))
        requests += [place.request_point(point, seed) for seed in seeds if seed not in known]
    return requests


def train_again(
    pool: Pool, requests: Sequence[EvaluationRequest], database: Database, on_step: Callable[[str], None]
) -> None:
    """Trains and records them. Finished ones stay recorded and checkpoints stay, whatever ends this process.

    A training whose machine failed is tried again. Raises ConfirmationError where one fails.
    """
    left = {(request.trial_number, len(request.design.stages), request.seed): request for request in requests}
    started, n_attempts = time.monotonic(), 0
    while left:
        n_attempts += 1
        for request in left.values():
            pool.submit(request)
        n_pending = len(left)
        lost: Failed | None = None
        while n_pending:
            on_step(_describe_progress(len(requests), len(left), time.monotonic() - started))
            done = pool.next_done(WAIT_S)
            if done is None:
                continue
            n_pending -= 1
            match done:
                case Completed(evaluations=evaluations):
                    last = evaluations[-1]
                    record_replicate(database, _make_replicate(evaluations))
                    del left[last.trial_number, last.stage, last.seed]
                case Failed():
                    lost = done
        if lost is not None and (not lost.is_infrastructure or n_attempts >= MAX_ATTEMPTS):
            raise ConfirmationError(
                f"trial {lost.trial_number} could not be trained with another seed: {lost.traceback.strip()}"
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


def _describe_progress(n_all: int, n_left: int, seconds: float) -> str:
    n_done = n_all - n_left
    rest = f", about {seconds / n_done * n_left / 60:.0f} minutes left" if n_done else ""
    return f"training winners with other seeds: {n_done} of {n_all} done{rest}"
