"""One trial from design to evaluations: trained, pruned stage by stage, measured after each stage."""

from __future__ import annotations

import functools
import json
import threading
import time
from pathlib import Path

import torch
from filelock import FileLock
from pydantic import TypeAdapter

from spaces.architecture import InputQuantizer
from spaces.search_space import Design
from storage.artifacts import ArtifactStore, write_bytes_atomically
from storage.dataset.frames import Frames, load_training_frames, load_validation_frames
from storage.dataset.radioml import describe_state, inspect_radioml
from storage.dataset.split import prescribed_split
from storage.records import Evaluation
from workers.accuracy import evaluate_accuracy
from workers.checkpoint import Checkpoint, load_checkpoint, load_state, load_weights, write_checkpoint, write_weights
from workers.cpu.allocator import keep_freed_memory
from workers.inference_cost import count_cost
from workers.model import QuantizedNetwork, build_model, measure_density
from workers.pruning import Masks, prune_weights
from workers.requests import PROGRESS_FILE, DatasetRequest, EvaluationRequest
from workers.training import EpochEnd, Phase, Resumption, train
from workers.training_path import TrainingPath, choose_training_path

_loading = threading.Lock()
"""Trials that share a GPU are threads of one process. They share one copy of the frames, which one of them loads."""


def evaluate_design(request: EvaluationRequest) -> tuple[Evaluation, ...]:
    """Trains and measures the design: one evaluation after training (stage 0) and one per pruning stage.

    Continues what an earlier attempt left in the folder: it reads finished stages back and resumes an interrupted one
    after its last epoch. Waits while another process, left from a killed run, still works in the folder. Raises
    TrainingDivergedError, and DatasetError where the data file cannot be used.
    """
    keep_freed_memory()
    torch.set_num_threads(request.n_threads)
    request.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(request.folder / ".lock", fallback_to_soft=False):  # falls with its process
        return _evaluate_stages(request)


def list_phases(design: Design) -> tuple[Phase, ...]:
    """The training proper, then the fine-tuning of each pruning stage."""
    training = design.training
    settings = [(training.epochs, training.weight_decay), *((s.epochs, s.weight_decay) for s in design.stages)]
    return tuple(
        Phase(stage, epochs, training.learning_rate, weight_decay, training.batch_size, training.restart_epochs)
        for stage, (epochs, weight_decay) in enumerate(settings)
    )


def load_frames(dataset: DatasetRequest, quantizer: InputQuantizer | None) -> tuple[Frames, Frames]:
    """Training and validation frames, for networks that begin with this input quantizer (None: with none).

    They are in memory once for all workers of a machine. The first worker that needs them may have to prepare them.
    They stay open while the data file is unchanged, because a worker process evaluates many designs on them.
    """
    with _loading:
        return _load_frames(dataset, quantizer, describe_state(Path(dataset.path)))


def weights_file(stage: int) -> str:
    """Name of the weights at the end of a stage, inside the trial's folder."""
    return f"stage-{stage}.safetensors"


@functools.lru_cache(maxsize=2)
def _load_frames(dataset: DatasetRequest, quantizer: InputQuantizer | None, _state: str) -> tuple[Frames, Frames]:
    file = inspect_radioml(Path(dataset.path))
    split = prescribed_split(
        file.n_classes, len(file.snrs_db), file.frames_per_cell, dataset.validation_fraction, dataset.frames_per_cell
    )
    training = load_training_frames(file, split, dataset.min_training_snr_db, quantizer)
    return training, load_validation_frames(file, split, quantizer)


def _evaluate_stages(request: EvaluationRequest) -> tuple[Evaluation, ...]:
    design = request.design
    first = design.architecture.blocks[0]
    quantizer = first if isinstance(first, InputQuantizer) else None
    training_frames, validation_frames = load_frames(request.dataset, quantizer)
    folder = request.folder
    model = build_model(design.architecture, request.seed).to("cuda" if request.use_gpu else "cpu")
    evaluations = _load_finished_stages(folder, len(design.stages) + 1)
    if evaluations:
        load_weights(folder / weights_file(evaluations[-1].stage), model)
    path = choose_training_path(model)
    for phase in list_phases(design)[len(evaluations) :]:
        seconds = _train_phase(request, model, path, phase, training_frames)
        evaluations.append(_measure(request, model, path.name, phase.stage, seconds, validation_frames))
        _write_stage(folder, model, evaluations[-1])
    return tuple(evaluations)


def _load_finished_stages(folder: Path, n_stages: int) -> list[Evaluation]:
    finished: list[Evaluation] = []
    for stage in range(n_stages):
        path = folder / f"stage-{stage}.json"
        if not path.exists():
            break
        finished.append(TypeAdapter(Evaluation).validate_json(path.read_bytes()))
    return finished


def _train_phase(
    request: EvaluationRequest,
    model: QuantizedNetwork,
    path: TrainingPath,
    phase: Phase,
    frames: Frames,
) -> float:
    folder = request.folder
    checkpoint = load_checkpoint(folder)
    if checkpoint is not None and checkpoint.stage != phase.stage:
        checkpoint = None
    if checkpoint is not None:
        load_state(model, checkpoint.model_state)
    masks = _prune_for(model, request.design, phase, is_resumed=checkpoint is not None)
    started = time.monotonic() - (checkpoint.training_seconds if checkpoint else 0.0)

    def on_epoch(end: EpochEnd) -> None:
        seconds = time.monotonic() - started
        write_checkpoint(folder, Checkpoint(phase.stage, end.epoch, model.state_dict(), end.optimizer_state, seconds))
        _write_progress(folder, request.design, phase, end)

    if phase.epochs:
        resumption = Resumption(checkpoint.epoch, checkpoint.optimizer_state) if checkpoint else None
        train(model, frames, phase, request.seed, masks, resumption, on_epoch, path)
    return time.monotonic() - started


def _prune_for(model: QuantizedNetwork, design: Design, phase: Phase, is_resumed: bool) -> Masks | None:
    if phase.stage == 0:
        return None
    return prune_weights(model, 0.0 if is_resumed else design.stages[phase.stage - 1].epsilon)


def _measure(
    request: EvaluationRequest,
    model: QuantizedNetwork,
    training_path: str,
    stage: int,
    seconds: float,
    frames: Frames,
) -> Evaluation:
    accuracy = evaluate_accuracy(model, frames)
    density = measure_density(model)
    return Evaluation(
        study_name=request.study_name,
        trial_number=request.trial_number,
        stage=stage,
        accuracy=accuracy.overall,
        accuracy_by_snr=accuracy.by_snr,
        n_frames=accuracy.n_frames,
        cost=count_cost(request.design.architecture, density),
        density=density,
        epochs=sum(phase.epochs for phase in list_phases(request.design)[: stage + 1]),
        seed=request.seed,
        training_seconds=seconds,
        checkpoint=ArtifactStore(Path(request.artifacts)).relative(request.folder / weights_file(stage)),
        training_path=training_path,
        is_exact=accuracy.is_exact,
    )


def _write_stage(folder: Path, model: QuantizedNetwork, evaluation: Evaluation) -> None:
    write_weights(folder / weights_file(evaluation.stage), model)
    write_bytes_atomically(folder / f"stage-{evaluation.stage}.json", TypeAdapter(Evaluation).dump_json(evaluation))


def _write_progress(folder: Path, design: Design, phase: Phase, end: EpochEnd) -> None:
    phases = list_phases(design)
    progress = {
        "epoch": sum(p.epochs for p in phases[: phase.stage]) + end.epoch,
        "epochs": sum(p.epochs for p in phases),
        "stage": phase.stage,
        "loss": end.loss,
        "updated": time.time(),
    }
    write_bytes_atomically(folder / PROGRESS_FILE, json.dumps(progress).encode())
