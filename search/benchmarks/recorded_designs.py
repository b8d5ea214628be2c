"""A small space whose designs are all trained once, with each rung and each point kept: strategies are replayed on it.

`python -m search.strategy_benchmark record` trains what is not trained yet, and writes the table beside this file.
"""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from search.strategy.recorded_draw import RecordedDraw
from spaces.distributions import Scalar
from spaces.search_space import Design
from spaces.study_config import StudyConfig, parse_study_config
from storage.artifacts import write_by_rename
from storage.records import Rung
from storage.twin.cached_twin import ensure_twin
from workers.requests import DatasetRequest, EvaluationRequest

STUDY = """
study: {name: recorded, seed: 1}
dataset:
  twin: {profile: deepsig-2018, frames_per_cell: 48, seed: 2018}
  validation_fraction: 0.35
space:
  blocks:
    - {type: input_quantizer, clip: 3.0}
    - type: depthwise_separable
      kernel_size: {choices: [15, 27]}
      stride: {choices: [2, 4]}
      out_channels: {choices: [16, 24, 32]}
    - type: depthwise_separable
      kernel_size: 15
      stride: 2
      out_channels: 32
      activation_bit_width: {choices: [4, 6]}
    - type: depthwise_separable
      kernel_size: 9
      stride: 2
      out_channels: {choices: [24, 32, 48]}
      weight_bit_width: {choices: [3, 4, 6]}
    - {type: global_pool}
    - {type: linear, out_features: 24}
pruning:
  stages:
    - {kind: cost_aware, inference_cost: 0.008, epochs: 2}
    - {kind: cost_aware, inference_cost: 0.0055, epochs: 2}
    - {kind: cost_aware, inference_cost: 0.004, epochs: 2}
    - {kind: cost_aware, inference_cost: 0.003, epochs: 2}
budget: {trials: 216, epochs: 6}
"""

RUNGS = (2, 3, 4, 5, 7, 9, 11, 13)
"""Epochs at which a network is measured in the middle of a stage."""

TABLE = Path(__file__).with_name("recorded_designs.csv")

Params = Mapping[str, Scalar]
"""A design's values, by their paths in the study."""


@dataclass(frozen=True)
class Measurement:
    """A design after so many epochs: at a rung, or at the end of a stage."""

    epoch: int
    stage: int | None
    """The stage that ends there; None in the middle of one."""
    accuracy: float
    inference_cost: float


@dataclass(frozen=True)
class RecordedDesign:
    """One design with all that was measured of it, by epoch."""

    params: Params
    measurements: tuple[Measurement, ...]

    @property
    def points(self) -> tuple[Measurement, ...]:
        """At the ends of the stages."""
        return tuple(one for one in self.measurements if one.stage is not None)


def recorded_study() -> StudyConfig:
    """The study whose designs are recorded."""
    return parse_study_config(STUDY, "the recorded study")


def list_choices(config: StudyConfig) -> dict[str, Sequence[Scalar]]:
    """The choices of each parameter of the space, in the order in which they are drawn."""
    drawn = RecordedDraw(random.Random(0))
    config.search_space.suggest(drawn)
    choices: dict[str, Sequence[Scalar]] = {}
    for name, distribution in drawn.distributions.items():
        assert isinstance(distribution, CategoricalDistribution), "the space has no ranges"
        choices[name] = distribution.choices
    return choices


def list_designs(config: StudyConfig) -> Iterator[tuple[Params, Design]]:
    """All designs, each with its values."""
    choices = list_choices(config)
    for values in itertools.product(*choices.values()):
        params = dict(zip(choices, values, strict=True))
        yield params, config.search_space.suggest(FixedTrial(params))


def record_designs(
    config: StudyConfig, folder: Path, n_processes: int, on_line: Callable[[str], None], table: Path = TABLE
) -> None:
    """Trains the designs that the table does not have, and adds each to it as soon as it is trained.

    Also a training that was killed goes on where it was, from the folder. Where the training itself was changed, delete
    the table first: its designs are then others.
    """
    twin = config.dataset.twin
    data = ensure_twin(twin.frames_per_cell, twin.seed, profile=twin.profile)
    designs = list(list_designs(config))
    known = {tuple(one.params.items()): one for one in read_table(table)} if table.is_file() else {}
    keys = [tuple(params.items()) for params, _ in designs]
    found = {number: known[key] for number, key in enumerate(keys) if key in known}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        futures = {
            pool.submit(_train, _request(config, data, folder, number, design)): number
            for number, (_, design) in enumerate(designs)
            if number not in found
        }
        for future in as_completed(futures):
            number = futures[future]
            found[number] = RecordedDesign(designs[number][0], future.result())
            write_table([found[one] for one in sorted(found)], table)
            last = found[number].points[-1]
            on_line(f"{len(found)} of {len(designs)}: {last.accuracy:.2%} at {last.inference_cost:.5f}")


def write_table(designs: Sequence[RecordedDesign], path: Path = TABLE) -> None:
    """One line per design and measurement."""
    names = list(designs[0].params)
    with write_by_rename(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "epoch", "stage", "accuracy", "inference_cost"])
        for design in designs:
            for one in design.measurements:
                stage = "" if one.stage is None else one.stage
                values = [design.params[name] for name in names]
                writer.writerow([*values, one.epoch, stage, f"{one.accuracy:.5f}", f"{one.inference_cost:.6g}"])


def read_table(path: Path = TABLE) -> list[RecordedDesign]:
    """What `write_table` wrote."""
    measurements: dict[tuple[tuple[str, int], ...], list[Measurement]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            stage = int(row["stage"]) if row["stage"] else None
            one = Measurement(int(row["epoch"]), stage, float(row["accuracy"]), float(row["inference_cost"]))
            params = tuple((name, int(value)) for name, value in list(row.items())[:-4])
            measurements[params].append(one)
    return [RecordedDesign(dict(params), tuple(several)) for params, several in measurements.items()]


def _request(config: StudyConfig, data: Path, folder: Path, number: int, design: Design) -> EvaluationRequest:
    dataset = config.dataset
    return EvaluationRequest(
        study_name=config.study.name,
        trial_number=number,
        design=design,
        seed=config.study.seed + number,
        dataset=DatasetRequest(str(data), None, dataset.min_training_snr_db, dataset.validation_fraction),
        artifacts=str(folder.resolve()),
        study_started=data.name,
        n_threads=1,
        use_gpu=False,
    )


def _train(request: EvaluationRequest) -> tuple[Measurement, ...]:
    from workers.evaluation import evaluate_design, run_design  # imports torch, which reading the table does not need

    found: dict[int, Measurement] = {}
    for number, epoch in enumerate(RUNGS):
        _, result = run_design(replace(request, until=Rung(number, epoch)))
        if result is not None:
            found[epoch] = Measurement(epoch, None, result.accuracy, result.inference_cost)
    for evaluation in evaluate_design(request):
        cost = evaluation.cost.inference_cost
        found[evaluation.epochs] = Measurement(evaluation.epochs, evaluation.stage, evaluation.accuracy, cost)
    return tuple(found[epoch] for epoch in sorted(found))
