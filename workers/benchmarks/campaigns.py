"""Many trainings for one table: each way with each seed, on one or more processes, resumable at any epoch."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from spaces.search_space import Design
from storage.records import Evaluation
from workers.evaluation import evaluate_design
from workers.requests import DatasetRequest, EvaluationRequest


@dataclass(frozen=True)
class Campaign:
    """Which designs are trained, with which seeds, on which data."""

    ways: Mapping[str, Design]
    n_seeds: int
    dataset: DatasetRequest
    folder: Path
    """Trainings that are finished or under way lie here, and are not begun anew."""
    processes: int = 1

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Way and seed of each training, all ways of one seed before the next."""
        return [(way, seed) for seed in range(self.n_seeds) for way in self.ways]


Results = Mapping[str, list[tuple[Evaluation, ...]]]
"""Per way, the evaluations of each seed: one for each stage."""


def run_campaign(campaign: Campaign, on_line: Callable[[str], None]) -> Results:
    """Trains what is not trained yet. Says after each training what it gave, and about how long the rest takes."""
    finished: dict[tuple[str, int], tuple[Evaluation, ...]] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(campaign.processes, mp_context=context) as pool:
        futures = {pool.submit(evaluate_design, _request(campaign, *run)): run for run in campaign.runs}
        try:
            for future in as_completed(futures):
                run = futures[future]
                finished[run] = future.result()
                on_line(f"{_describe(run, finished[run])}; {_describe_rest(campaign, list(finished.values()))}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {way: [finished[way, seed] for seed in range(campaign.n_seeds)] for way in campaign.ways}


def _request(campaign: Campaign, way: str, seed: int) -> EvaluationRequest:
    """The folder of a training is named by its design, seed and data: a changed way is another training."""
    dataset, own = campaign.dataset, campaign.ways[way].training.min_snr_db
    return EvaluationRequest(
        study_name=hashlib.sha256(campaign.dataset.path.encode()).hexdigest()[:8],
        trial_number=seed,
        design=campaign.ways[way],
        seed=seed,
        dataset=dataset if own is None else replace(dataset, min_training_snr_db=own),
        artifacts=str(campaign.folder.resolve()),
        study_started=Path(campaign.dataset.path).name,
        n_threads=1,
        use_gpu=False,
    )


def _describe(run: tuple[str, int], evaluations: Sequence[Evaluation]) -> str:
    points = ", ".join(f"{e.accuracy:.2%} at {e.cost.inference_cost:.4f}" for e in evaluations)
    return f"{run[0]}, seed {run[1]}: {points}"


def _describe_rest(campaign: Campaign, finished: Sequence[Sequence[Evaluation]]) -> str:
    """From what the trainings took, for those of an earlier run are here at once."""
    n_done, n_runs = len(finished), len(campaign.runs)
    seconds = sum(evaluation.training_seconds for evaluations in finished for evaluation in evaluations)
    left = seconds / n_done * (n_runs - n_done) / campaign.processes / 60
    return f"{n_done} of {n_runs} done, about {left:.0f} minutes left"
