"""Trials share an actor's process, each in a thread, with the results they would have alone; here without a GPU."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, GlobalPool, InputQuantizer, Linear
from spaces.search_space import Design, TrainingSettings
from storage.records import Evaluation
from workers.evaluation import evaluate_design
from workers.gpu_actors import GpuActors
from workers.pool import RayPool, run_request
from workers.requests import Completed, DatasetRequest, EvaluationRequest

pytestmark = pytest.mark.slow

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    pool = RayPool(1, 0, max_concurrent=None, address=None)
    yield pool._ray
    pool.close()


@pytest.fixture
def request_(twin_path: Path, tmp_path: Path) -> EvaluationRequest:
    blocks = (
        InputQuantizer(),
        Conv(out_channels=2, kernel_size=5, stride=16, weight_bit_width=4, activation_bit_width=4),
        GlobalPool(),
        Linear(out_features=24, weight_bit_width=4),
    )
    design = Design(architecture=ArchitectureConfig(blocks=blocks), training=TrainingSettings(epochs=2))
    dataset = DatasetRequest(str(twin_path), None, min_training_snr_db=-6, validation_fraction=0.2)
    return EvaluationRequest("actors", 0, design, 1, dataset, str(tmp_path / "artifacts"), "2026", 1, False)


def test_trials_side_by_side_are_measured_as_if_alone(ray: Any, request_: EvaluationRequest) -> None:
    requests = [dataclasses.replace(request_, trial_number=number, seed=number) for number in range(3)]
    actors = GpuActors(ray, run_request, trials_per_actor=3, gpus_per_actor=0)
    results = ray.get([actors.submit(request) for request in requests], timeout=TIMEOUT_S)
    actors.close()
    for request, result in zip(requests, results, strict=True):
        assert isinstance(result, Completed)
        alone = evaluate_design(dataclasses.replace(request, study_name="alone"))
        assert [outcome(found) for found in result.evaluations] == [outcome(expected) for expected in alone]


def test_as_many_as_an_actor_takes_run_in_it_at_once(ray: Any, request_: EvaluationRequest) -> None:
    actors = GpuActors(ray, meet_another_thread, trials_per_actor=2, gpus_per_actor=0)
    references = [actors.submit(request_) for _ in range(4)]
    processes = ray.get(references, timeout=TIMEOUT_S)
    assert sorted(processes.count(process) for process in set(processes)) == [2, 2]
    for reference in references:
        actors.free(reference)
    again = ray.get([actors.submit(request_) for _ in range(4)], timeout=TIMEOUT_S)
    actors.close()
    assert set(again) == set(processes)


def test_an_actor_that_dies_is_an_error_of_its_trials_and_is_replaced(ray: Any, request_: EvaluationRequest) -> None:
    actors = GpuActors(ray, die_at_seed_one, trials_per_actor=1, gpus_per_actor=0)
    reference = actors.submit(request_)
    with pytest.raises(ray.exceptions.RayError):
        ray.get(reference, timeout=TIMEOUT_S)
    actors.replace(reference)
    alive = actors.submit(dataclasses.replace(request_, seed=2))
    assert ray.get(alive, timeout=TIMEOUT_S) == 2
    actors.close()


def outcome(evaluation: Evaluation) -> tuple[object, ...]:
    return evaluation.trial_number, evaluation.accuracy, evaluation.accuracy_by_snr, evaluation.density


_barrier = threading.Barrier(2)


def meet_another_thread(request: EvaluationRequest) -> int:
    _barrier.wait(timeout=60)
    return os.getpid()


def die_at_seed_one(request: EvaluationRequest) -> int:
    if request.seed == 1:
        os._exit(1)
    return request.seed
