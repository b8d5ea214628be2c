"""Trains a trial again from its record: `python -m search.replay STUDY TRIAL`.

On the same machine with the same versions it gives the same accuracies, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from search.stored_point import StoredPoint, open_stored_point
from search.study import StudyError, list_differences
from search.study_data import request_frames
from search.training_requests import TrainingPlace
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactError
from storage.command_options import add_network_options
from storage.commands import make_parser, run_command
from storage.database import DatabaseError
from storage.dataset.radioml import DatasetError
from storage.records import Evaluation

EXIT_DIFFERENT = 1


@dataclass(frozen=True)
class ReplayedStage:
    """One network as it was recorded, and as it is now."""

    stage: int
    recorded_accuracy: float
    accuracy: float
    recorded_inference_cost: float
    inference_cost: float
    recorded_path: str
    path: str
    """Execution that training went through: two of them sum in another order."""

    @property
    def is_equal(self) -> bool:
        """To the last bit."""
        return (self.accuracy, self.inference_cost) == (self.recorded_accuracy, self.recorded_inference_cost)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where all stages are equal, 1 where one is not, 2 where study, trial or data are missing."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        stored = open_stored_point(args.storage, args.artifacts, args.study, args.trial, args.stage)
        differences = list_differences(stored.database, stored.study_name)
        for line in differences:
            print(line, file=sys.stderr)
        stages = replay(stored)
    except (ArtifactError, ConfigError, DatabaseError, DatasetError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        rows = [{**asdict(stage), "is_equal": stage.is_equal} for stage in stages]
        print(json.dumps({"differences": differences, "stages": rows}))
    else:
        _print_table(stages)
    return 0 if all(stage.is_equal for stage in stages) else EXIT_DIFFERENT


def replay(stored: StoredPoint) -> list[ReplayedStage]:
    """Trains the trial up to the point's stage, in a folder of its own that is deleted. Nothing is recorded."""
    from workers.evaluation import evaluate_design  # imports torch, which --help does not need

    _check_device(stored)
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        place = TrainingPlace(stored.config, request_frames(stored.config, stored.file), Path(folder), "replay")
        replayed = evaluate_design(place.request_point(stored.point, stored.point.evaluation.seed))
    recorded = [point.evaluation for point in stored.point.trial.points]
    return [_compare(before, now) for before, now in zip(recorded, replayed, strict=False)]


def _check_device(stored: StoredPoint) -> None:
    from workers.evaluation import has_gpu  # imports torch, which --help does not need

    if stored.config.workers.gpus_per_trial > 0 and not has_gpu():
        raise StudyError(
            f"{stored.study_name} was trained on a GPU; expected one here, for a CPU sums in another order"
        )


def _compare(before: Evaluation, now: Evaluation) -> ReplayedStage:
    costs = before.cost.inference_cost, now.cost.inference_cost
    return ReplayedStage(before.stage, before.accuracy, now.accuracy, *costs, before.training_path, now.training_path)


def _print_table(stages: Sequence[ReplayedStage]) -> None:
    table = Table("stage", "accuracy, recorded", "now", "inference cost, recorded", "now", "path", "now", "equal")
    for stage in stages:
        accuracies = f"{stage.recorded_accuracy:.4%}", f"{stage.accuracy:.4%}"
        costs = f"{stage.recorded_inference_cost:.6f}", f"{stage.inference_cost:.6f}"
        paths = stage.recorded_path, stage.path
        table.add_row(str(stage.stage), *accuracies, *costs, *paths, "yes" if stage.is_equal else "no")
    Console().print(table)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.replay", description="Trains a trial again from its record, and compares."
    )
    add_network_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
