"""Puts one network of a study among those the repository holds: `python -m search.add_to_zoo STUDY TRIAL`.

It is measured on the study's test frames, and on those of a twin that no search has seen. The figures of its finished
build go along, if it has one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from search.promotion import measure_weights
from search.stored_point import StoredPoint, open_stored_point
from search.study import StudyError
from search.study_data import open_fresh_twin
from spaces.architecture import NOT_QUANTIZED
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactError, ArtifactStore
from storage.builds import load_builds
from storage.command_options import add_network_options
from storage.commands import make_parser, run_command
from storage.database import DatabaseError
from storage.dataset.radioml import DatasetError
from storage.records import BuildState

FRESH_FRAMES_PER_CELL = 256
"""At most, of the other twin: then accuracies of half of the frames have a standard error of 0.4 points."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the archive's path. Exit code 2 where study, trial, weights or twin are missing, and for float layers."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    from workers.checkpoint import CheckpointError  # import torch, which --help does not need
    from workers.zoo import ZooError

    try:
        ArtifactStore(args.folder).check_can_write()
        stored = open_stored_point(args.storage, args.artifacts, args.study, args.trial, args.stage)
        path = add_to_zoo(stored, args.folder)
    except (ArtifactError, CheckpointError, ConfigError, DatabaseError, DatasetError, StudyError, ZooError) as error:
        print(error, file=sys.stderr)
        return 2
    print(path)
    return 0


def add_to_zoo(stored: StoredPoint, folder: Path) -> Path:
    """Measures, exports and writes it; the path of its archive. Raises StudyError for float layers, and CheckpointError
    where its weights are missing.
    """
    from workers.checkpoint import load_weights  # import torch
    from workers.model import build_model
    from workers.qonnx_export import write_qonnx
    from workers.zoo import ZooEntry, describe_build, name_entry, write_entry

    point, config = stored.point, stored.config
    if not point.architecture.is_quantized:
        raise StudyError(f"{stored.name}: {NOT_QUANTIZED}")
    fresh = open_fresh_twin(config, stored.file, FRESH_FRAMES_PER_CELL)
    on_test = measure_weights(point.architecture, stored.checkpoint, config, stored.file)
    whole = config.model_copy(update={"dataset": config.dataset.model_copy(update={"frames_per_cell": None})})
    on_fresh = measure_weights(point.architecture, stored.checkpoint, whole, fresh)
    builds = load_builds(stored.database, stored.study_name)
    own = [b for b in builds if (b.trial_number, b.stage) == point.key and b.state is BuildState.SUCCEEDED]
    entry = ZooEntry(
        description=stored.name,
        architecture=point.architecture,
        inference_cost=point.evaluation.cost.inference_cost,
        profile=config.dataset.twin.profile,
        frames_per_cell=config.dataset.twin.frames_per_cell,
        twin_seed=config.dataset.twin.seed,
        accuracy=on_test.overall,
        fresh_accuracy=on_fresh.overall,
        n_frames=on_test.n_frames,
        n_fresh_frames=on_fresh.n_frames,
        build=describe_build(own[-1] if own else None),
    )
    model = build_model(point.architecture, seed=0)
    load_weights(stored.checkpoint, model)
    with TemporaryDirectory() as scratch:
        model_path = Path(scratch) / "model.onnx"
        write_qonnx(model, point.architecture, model_path)
        name = name_entry(f"{stored.study_name} {point.name}")
        return write_entry(name, entry, stored.checkpoint, model_path, folder)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m search.add_to_zoo", description="Puts one network of a study into the zoo.")
    add_network_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("spaces/zoo"), help="where it is put (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
