"""Whether two training paths train equally good networks: `python -m workers.path_comparison`, several seeds each.

Paths differ in rounding alone. That changes the course of a training as another seed does, so means are compared.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spaces.architecture import ArchitectureConfig
from spaces.blocks import InputQuantizer
from storage.commands import make_parser, run_command
from storage.dataset.frames import Frames, load_training_frames, load_validation_frames
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from storage.twin.cached_twin import ensure_twin
from workers.accuracy import evaluate_accuracy
from workers.benchmarks.training_speed import NETWORKS
from workers.cpu.allocator import keep_freed_memory
from workers.model import build_model
from workers.training import Phase, train
from workers.training_path import PathName, make_training_path

MIN_TRAINING_SNR_DB = -6
VALIDATION_FRACTION = 0.2


@dataclass(frozen=True)
class Comparison:
    """Validation accuracies, 0 to 1, of one network trained with the same seeds through two paths."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Mean of the second path minus mean of the first."""
        return statistics.mean(self.second) - statistics.mean(self.first)

    @property
    def standard_error(self) -> float:
        """Standard error of that difference, from the variance over the seeds."""
        return math.sqrt(sum(statistics.variance(part) / len(part) for part in (self.first, self.second)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    keep_freed_memory()
    torch.set_num_threads(1)
    architecture = ArchitectureConfig(blocks=NETWORKS[args.network])
    frames = training, validation = _load_frames(ensure_twin(args.frames_per_cell, seed=2018), architecture)
    print(f"{args.network}: {len(training):,} training and {len(validation):,} validation frames, {args.epochs} epochs")
    accuracies: dict[PathName, list[float]] = {path: [] for path in args.paths}
    for seed in range(args.seeds):
        for path in args.paths:
            accuracies[path].append(_train(architecture, path, seed, args.epochs, frames))
            print(f"  seed {seed}, {path}: {accuracies[path][-1]:.2%}", flush=True)
    print(describe(args.paths, Comparison(*(tuple(accuracies[path]) for path in args.paths))))
    return 0


def describe(paths: Sequence[PathName], comparison: Comparison) -> str:
    """Mean and standard deviation of each path, their difference and its standard error."""
    lines = []
    for path, values in zip(paths, (comparison.first, comparison.second), strict=True):
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        lines.append(f"{path}: mean {mean:.2%}, standard deviation {deviation:.2%}, n = {len(values)}")
    lines.append(f"difference {comparison.difference:+.2%}, standard error {comparison.standard_error:.2%}")
    return "\n".join(lines)


def _load_frames(path: Path, architecture: ArchitectureConfig) -> tuple[Frames, Frames]:
    file = inspect_radioml(path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, VALIDATION_FRACTION)
    quantizer = architecture.blocks[0]
    assert isinstance(quantizer, InputQuantizer)
    training = load_training_frames(file, split, MIN_TRAINING_SNR_DB, quantizer)
    return training, load_validation_frames(file, split, quantizer)


def _train(
    architecture: ArchitectureConfig, path: PathName, seed: int, epochs: int, frames: tuple[Frames, Frames]
) -> float:
    training, validation = frames
    model = build_model(architecture, seed)
    phase = Phase(0, epochs, learning_rate=0.01, weight_decay=1e-4, batch_size=256, restart_epochs=epochs)
    train(model, training, phase, seed, path=make_training_path(model, path))
    return evaluate_accuracy(model, validation).overall


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m workers.path_comparison", description="Several seeds through two training paths, compared."
    )
    parser.add_argument("--network", choices=NETWORKS, default="BacalhauNet w6a6")
    parser.add_argument(
        "--paths", nargs=2, type=PathName, default=[PathName.BREVITAS, PathName.NATIVE], choices=list(PathName)
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds through each path; default 5, at least 2")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--frames-per-cell", type=int, default=48, help="of the twin; default 48")
    args = parser.parse_args(arguments)
    if args.seeds < 2 or args.epochs < 1 or args.frames_per_cell < 8:
        parser.error("expected at least 2 seeds, 1 epoch and 8 frames per cell")
    return args


if __name__ == "__main__":
    run_command(main)
