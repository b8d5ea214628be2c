"""A trial whose first stages another trial has already: they are copied, and it goes on as if it had trained them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from storage.artifacts import ArtifactStore, write_by_rename, write_bytes_atomically
from storage.records import Evaluation
from workers.checkpoint import CHECKPOINT_FILE, EARLY_FILE, held_file, stage_file, weights_file
from workers.requests import EvaluationRequest


def take_over_stages(request: EvaluationRequest) -> None:
    """Copies what the base has, once; nothing where something of it is missing, for it can be trained again."""
    assert request.base is not None
    store, folder = ArtifactStore(Path(request.artifacts)), request.folder
    base = store.path(request.base)
    n_stages = sum((base / stage_file(stage)).is_file() for stage in range(len(request.design.stages)))
    last = n_stages - 1
    held = [held_file(last)] if request.design.training.schedule == "hold" else []
    early = [EARLY_FILE] if request.design.goes_back else []
    needed = [CHECKPOINT_FILE, *held, *early, *(weights_file(stage) for stage in range(n_stages))]
    if last < 0 or (folder / stage_file(last)).exists() or not all((base / name).is_file() for name in needed):
        return
    for name in needed:
        with write_by_rename(folder / name) as unfinished:
            shutil.copyfile(base / name, unfinished)
    evaluations = TypeAdapter(Evaluation)
    for stage in range(n_stages):
        theirs = evaluations.validate_json((base / stage_file(stage)).read_bytes())
        own = replace(
            theirs,
            trial_number=request.trial_number,
            training_seconds=0.0,
            checkpoint=store.relative(folder / weights_file(stage)),
        )
        write_bytes_atomically(folder / stage_file(stage), evaluations.dump_json(own))
