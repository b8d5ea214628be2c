"""A small study and a pool that measures without training, to run the search's loop on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from search.budget import Limits
from search.hardware_estimates import HardwareEstimates
from search.loop import Search
from search.points_study import points_study_name
from search.processes.driver_lease import DriverLease
from search.processes.interrupts import Interrupts
from search.study import match_study, open_study
from spaces.study_config import StudyConfig, parse_study_config
from storage.artifacts import ArtifactStore
from storage.builds import queue_build
from storage.database import Database
from storage.records import Build, BuildRequest, BuildTarget, Evaluation
from workers.inference_cost import count_cost, list_mac_layers
from workers.pool import Done
from workers.requests import Completed, DatasetRequest, EvaluationRequest, Failed

STUDY_FILE = """
study: {name: small, seed: 3, sampler: random}
space:
  blocks:
    - {type: input_quantizer}
    - type: depthwise_separable
      kernel_size: 7
      stride: {choices: [1, 2]}
      out_channels: {int: [4, 64]}
      weight_bit_width: {int: [2, 8]}
      activation_bit_width: {int: [2, 8]}
    - {type: max_pool, kernel_size: %s}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 4}
pruning:
  stages:
    - {epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}
budget: {trials: 6, epochs: 3}
workers: {max_attempts: 3}
"""

DATA = {"data_file": "data.hdf5", "data_set": "file", "data_frames": "4992"}

Evaluate = Callable[[EvaluationRequest], Done]


def small_config(pool_kernel_size: str = "2", **replacements: str) -> StudyConfig:
    """The small study; `replacements` change words of its text."""
    text = STUDY_FILE % pool_kernel_size
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return parse_study_config(text, "small.yaml")


def hardware_config(objectives: str = "lut: {}", constraints: str = "", **replacements: str) -> StudyConfig:
    """The small study with hardware metrics as objectives and constraints."""
    assert "workers:" not in replacements  # it is where the objectives are put
    parts = f"objectives: {{{objectives}}}\nconstraints: {{{constraints}}}\nworkers:"
    return small_config(**{"workers:": parts, **replacements})


class FakePool:
    """A pool that measures with a function when it is asked for the next one done."""

    def __init__(self, evaluate: Evaluate, capacity: int = 2) -> None:
        self.evaluate = evaluate
        self.submitted: list[EvaluationRequest] = []
        self.most_in_flight = 0
        self._capacity = capacity
        self._waiting: deque[EvaluationRequest] = deque()

    @property
    def numbers(self) -> list[int]:
        """Trial numbers in the order they were submitted."""
        return [request.trial_number for request in self.submitted]

    def capacity(self) -> int:
        return self._capacity

    def submit(self, request: EvaluationRequest) -> None:
        self.submitted.append(request)
        self._waiting.append(request)
        self.most_in_flight = max(self.most_in_flight, len(self._waiting))

    def next_done(self, timeout_s: float) -> Done | None:
        return self.evaluate(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        self._waiting.clear()


def make_search(
    config: StudyConfig, database: Database, folder: Path, evaluate: Evaluate, capacity: int = 2, **options: Any
) -> Search:
    """A run of the loop on this database, as the command would make it."""
    config = match_study(config, database, DATA)
    search = Search(
        config=config,
        study=open_study(config, database, DATA),
        database=database,
        artifacts=ArtifactStore(folder / "artifacts"),
        dataset=DatasetRequest("data.hdf5", None, -6, 0.1),
        lease=DriverLease(database, config.study.name),
        estimates=HardwareEstimates(database, config) if config.asks_for_hardware else None,
        **{"interrupts": Interrupts(), "limits": Limits(6, 18, None), **options},
    )
    search.pool = FakePool(evaluate, capacity)
    return search


def pool_of(search: Search) -> FakePool:
    """The search's fake pool."""
    assert isinstance(search.pool, FakePool)
    return search.pool


def points_of(study: optuna.Study) -> optuna.Study:
    """The study that has each point of this one as a trial."""
    return optuna.load_study(study_name=points_study_name(study.study_name), storage=study._storage)


def complete(request: EvaluationRequest) -> Completed:
    """Measures by formula: the larger the network, the more accurate; each stage prunes half and costs accuracy."""
    design = request.design
    layers = [layer.name for layer in list_mac_layers(design.architecture)]
    stages = range(len(design.stages) + 1)
    costs = [count_cost(design.architecture, dict.fromkeys(layers, 0.5**stage)) for stage in stages]
    evaluations = [
        Evaluation(
            study_name=request.study_name,
            trial_number=request.trial_number,
            stage=stage,
            accuracy=min(0.9, 0.3 + costs[0].parameters / 4000) - 0.01 * stage,
            accuracy_by_snr={0: 0.5},
            n_frames=624,
            cost=costs[stage],
            density=dict.fromkeys(layers, 0.5**stage),
            epochs=3 + 2 * stage,
            seed=request.seed,
            training_seconds=1.5,
            checkpoint=f"{request.study_name}/{request.trial_number}/stage-{stage}",
        )
        for stage in stages
    ]
    return Completed(request.trial_number, tuple(evaluations))


def fail(request: EvaluationRequest, kind: str = "ValueError", is_infrastructure: bool = False) -> Failed:
    """A trial that raised, or whose worker died."""
    return Failed(request, kind, f"Traceback:\n{kind}: no luck", is_infrastructure)


def queue_small_build(database: Database, trial_number: int = 4, board: str = "ZCU111", *, stage: int = 0) -> Build:
    """A build of the small study, whose files are model.onnx and proof.npz."""
    return queue_build(
        database,
        BuildRequest(
            study_name="small",
            trial_number=trial_number,
            stage=stage,
            model="model.onnx",
            reference_vectors="proof.npz",
            target=BuildTarget(board, 5.0, 100_000),
            timeout_s=60,
            is_below_threshold=False,
            test_accuracy=0.55,
        ),
    )
