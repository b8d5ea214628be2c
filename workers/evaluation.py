"""One trial from design to evaluations: trained, pruned stage by stage, measured after each stage."""

from __future__ import annotations

import copy
import functools
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock
from pydantic import TypeAdapter
from torch import Tensor

from spaces.architecture import make_float
from spaces.blocks import InputQuantizer
from spaces.pruning_stages import MagnitudeStage
from spaces.search_space import Design
from storage.artifacts import ArtifactStore, write_bytes_atomically
from storage.dataset.frames import Frames, load_training_frames, load_validation_frames, spread_evenly
from storage.dataset.radioml import describe_state, inspect_radioml
from storage.dataset.split import prescribed_split
from storage.records import Evaluation, Rung, RungResult
from storage.training_history import EpochRecord, add_epoch
from workers.accuracy import evaluate_accuracy
from workers.base_stages import take_over_stages
from workers.batch_norm import reestimate_statistics
from workers.checkpoint import (
    CHECKPOINT_FILE,
    EARLY_FILE,
    Checkpoint,
    held_file,
    load_checkpoint,
    load_state,
    load_weights,
    read_weights,
    stage_file,
    weights_file,
    write_checkpoint,
    write_weights,
)
from workers.cpu.allocator import keep_freed_memory
from workers.inference_cost import count_cost
from workers.inheritance import inherit_weights
from workers.layers import keep_signs
from workers.learning_rate import plateau_learning_rate
from workers.model import Network, QuantizedNetwork, build_model, measure_density
from workers.post_training import quantize_trained
from workers.pruning import list_kept
from workers.requests import PROGRESS_FILE, DatasetRequest, EvaluationRequest
from workers.stage_start import StageStart, start_stage
from workers.training import EpochEnd, Phase, Plateau, Resumption, make_optimizer, train
from workers.training_path import TrainingPath, choose_training_path

_loading = threading.Lock()
"""Trials that share a GPU are threads of one process. They share one copy of the frames, which one of them loads."""


N_WATCHED = 512
"""Validation frames on which a network in training is measured after an epoch, for its learning curve alone."""

SHORT_EPOCH_S = 2.0
"""After shorter epochs it is not measured: that would take a good part of the time."""


def evaluate_design(request: EvaluationRequest) -> tuple[Evaluation, ...]:
    """Trains and measures the design: one evaluation after training (stage 0) and one per pruning stage.

    Continues what an earlier attempt left in the folder: it reads finished stages back and resumes an interrupted one
    after its last epoch. Waits while another process, left from a killed run, still works in the folder. Raises
    TrainingDivergedError, and DatasetError where the data file cannot be used.
    """
    evaluations, paused_at = run_design(replace(request, until=None))
    assert paused_at is None
    return evaluations


def run_design(request: EvaluationRequest) -> tuple[tuple[Evaluation, ...], RungResult | None]:
    """As `evaluate_design`, up to the rung where the trial is to pause; then with how good it is there.

    A trial that pauses goes on exactly as if it had not: what is measured is a copy.
    """
    keep_freed_memory()
    torch.set_num_threads(request.n_threads)
    request.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(request.folder / ".lock", fallback_to_soft=False):  # falls with its process
        return _evaluate_stages(request)


def has_gpu() -> bool:
    """Whether a trial that asks for a GPU can be trained here."""
    return torch.cuda.is_available()


def list_phases(design: Design) -> tuple[Phase, ...]:
    """The training proper, then the training of each pruning stage; with a plateau, the most epochs of each."""
    training = design.training
    plateau = None
    if training.schedule == "plateau":
        assert training.patience is not None
        assert training.factor is not None
        plateau = Plateau(training.patience, training.factor, training.stop_at, training.stop_loss)
    settings = [(training.epochs, training.weight_decay), *((s.epochs, s.weight_decay) for s in design.stages)]
    restart_epochs = training.restart_epochs if training.schedule == "restarts" else None
    return tuple(
        Phase(stage, epochs, training.learning_rate, weight_decay, training.batch_size, restart_epochs, plateau=plateau)
        for stage, (epochs, weight_decay) in enumerate(settings)
    )


def load_frames(dataset: DatasetRequest, quantizer: InputQuantizer | None) -> tuple[Frames, Frames]:
    """Training and validation frames, for networks that begin with this input quantizer (None: with none).

    They are in memory once for all workers of a machine. The first worker that needs them may have to prepare them.
    They stay open while the data file is unchanged, because a worker process evaluates many designs on them.
    """
    with _loading:
        return _load_frames(dataset, quantizer, describe_state(Path(dataset.path)))


@functools.lru_cache(maxsize=2)
def _load_frames(dataset: DatasetRequest, quantizer: InputQuantizer | None, _state: str) -> tuple[Frames, Frames]:
    file = inspect_radioml(Path(dataset.path))
    split = prescribed_split(
        file.n_classes, len(file.snrs_db), file.frames_per_cell, dataset.validation_fraction, dataset.frames_per_cell
    )
    training = load_training_frames(file, split, dataset.min_training_snr_db, quantizer)
    return training, load_validation_frames(file, split, quantizer)


def _evaluate_stages(request: EvaluationRequest) -> tuple[tuple[Evaluation, ...], RungResult | None]:
    design, folder = request.design, request.folder
    first = design.architecture.blocks[0]
    quantizer = first if isinstance(first, InputQuantizer) else None
    frames, validation_frames = load_frames(request.dataset, quantizer)
    if request.base is not None:
        take_over_stages(request)
    evaluations = _load_finished_stages(folder, len(design.stages) + 1)
    rung_file = None if request.until is None else folder / f"rung-{request.until.number}.json"
    if rung_file is not None and rung_file.exists():
        return tuple(evaluations), TypeAdapter(RungResult).validate_json(rung_file.read_bytes())
    network = _load_network(request, evaluations)
    phases = list_phases(design)
    for phase in phases[len(evaluations) :]:
        until = _find_pause(request, phases[: phase.stage])
        if until == 0:
            break  # the stage before ends there
        trained = _run_stage(request, network, phase, frames, validation_frames, until)
        network = trained.network
        n_calibration = design.training.n_calibration_frames
        if n_calibration is not None:
            network = quantize_trained(network, design.architecture, frames, n_calibration, request.seed)
        if until is not None and until < phase.epochs:
            assert request.until is not None
            measured = _measure_now(request, network, phase, frames, validation_frames)
            return tuple(evaluations), _write_rung(request, request.until, *measured)
        epochs = trained.epochs + (evaluations[-1].epochs if evaluations else 0)
        evaluations.append(_measure(request, replace(trained, network=network, epochs=epochs), validation_frames))
        _write_stage(folder, network.model, evaluations[-1])
    last = evaluations[-1]
    if request.until is not None and last.epochs > request.until.epoch:
        raise ValueError(f"{folder} is {last.epochs} epochs on; expected at most {request.until.epoch}, where to pause")
    if request.until is None or len(evaluations) == len(phases):
        return tuple(evaluations), None
    return tuple(evaluations), _write_rung(request, request.until, last.accuracy, last.cost.inference_cost)


def _find_pause(request: EvaluationRequest, before: Sequence[Phase]) -> int | None:
    """How many epochs of the phase that follows these are to be trained; None: all."""
    if request.until is None:
        return None
    return max(request.until.epoch - sum(phase.epochs for phase in before), 0)


def _measure_now(
    request: EvaluationRequest, network: Network, phase: Phase, frames: Frames, validation_frames: Frames
) -> tuple[float, float]:
    """Accuracy and inference cost of a network in the middle of its training, which goes on as if it were not asked."""
    model = copy.deepcopy(network.model)
    if phase.is_held:
        reestimate_statistics(model, choose_training_path(model), frames, request.seed)
    cost = count_cost(network.architecture, measure_density(model))
    return evaluate_accuracy(model, validation_frames).overall, cost.inference_cost


def _write_rung(request: EvaluationRequest, rung: Rung, accuracy: float, inference_cost: float) -> RungResult:
    """The result, which is kept in the trial's folder: later the network is no longer what it was there."""
    result = RungResult(request.study_name, request.trial_number, rung.number, rung.epoch, accuracy, inference_cost)
    write_bytes_atomically(request.folder / f"rung-{rung.number}.json", TypeAdapter(RungResult).dump_json(result))
    return result


def _load_network(request: EvaluationRequest, finished: Sequence[Evaluation]) -> Network:
    """The network at the end of the last finished stage; before the first, with fresh weights."""
    architecture = request.design.architecture
    if not finished and request.design.training.kind == "post_training":
        architecture = make_float(architecture)
    if finished and finished[-1].architecture is not None:
        architecture = finished[-1].architecture
    model = build_model(architecture, request.seed)
    if request.design.training.schedule == "hold":
        keep_signs(model.blocks)
    if finished:
        load_weights(request.folder / weights_file(finished[-1].stage), model)
    elif request.design.parent is not None:
        inherit_weights(model, _load_parent(request, request.design.parent))
    return Network(architecture, model.to("cuda" if request.use_gpu else "cpu"))


def _load_parent(request: EvaluationRequest, parent: Design) -> dict[str, Tensor]:
    """Its weights, from where the request says they are, or else trained in a folder of their own."""
    store = ArtifactStore(Path(request.artifacts))
    if request.parent is not None and (path := store.path(request.parent)).is_file():
        return read_weights(path)
    dataset, lowest = request.dataset, parent.training.min_snr_db
    dataset = dataset if lowest is None else replace(dataset, min_training_snr_db=lowest)
    own = replace(request, design=parent, dataset=dataset, until=None, base=None, parent=None)
    run_design(own)
    return read_weights(own.folder / weights_file(0))


def _load_finished_stages(folder: Path, n_stages: int) -> list[Evaluation]:
    finished: list[Evaluation] = []
    for stage in range(n_stages):
        path = folder / stage_file(stage)
        if not path.exists():
            break
        finished.append(TypeAdapter(Evaluation).validate_json(path.read_bytes()))
    return finished


@dataclass(frozen=True)
class _Trained:
    """A network at the end of a stage, or where it pauses."""

    network: Network
    stage: int
    epochs: int
    seconds: float
    path: TrainingPath


def _run_stage(
    request: EvaluationRequest,
    network: Network,
    phase: Phase,
    frames: Frames,
    validation_frames: Frames,
    until: int | None,
) -> _Trained:
    """Prunes and trains, from the start or from where an earlier attempt stopped.

    With `until` below the phase's epochs it pauses there, in the middle.
    """
    folder = request.folder
    start, resumption = _start(request, network, phase)
    phase = replace(phase, learning_rate=_find_first_rate(request, phase))
    epochs_done = 0
    checkpoint = load_checkpoint(folder / CHECKPOINT_FILE)
    spent = 0.0
    if checkpoint is not None and checkpoint.stage == phase.stage:
        load_state(start.network.model, checkpoint.model_state)
        if start.pruner:
            start.pruner.restore(checkpoint.masks or list_kept(start.network.model))
        resumption = Resumption(
            checkpoint.epoch, checkpoint.optimizer_state, tuple(checkpoint.accuracies), checkpoint.is_last
        )
        epochs_done, spent = checkpoint.epoch, checkpoint.training_seconds
    model, path = start.network.model, choose_training_path(start.network.model)
    started, last_seconds = time.monotonic() - spent, [spent]
    sample = validation_frames.select(spread_evenly(len(validation_frames), N_WATCHED))

    def on_epoch(end: EpochEnd) -> None:
        nonlocal epochs_done
        seconds = time.monotonic() - started
        epochs_done, is_short = end.epoch, seconds - last_seconds[0] < SHORT_EPOCH_S
        accuracy = end.accuracies[-1] if end.accuracies else None
        if accuracy is None and not is_short:
            accuracy = evaluate_accuracy(copy.deepcopy(model), sample).overall
        add_epoch(folder, EpochRecord(phase.stage, end.epoch, end.loss, accuracy, seconds))
        last_seconds[0] = time.monotonic() - started
        is_early = phase.stage == 0 and end.epoch == 1
        if is_early and (request.design.goes_back or (request.goes_on and not phase.is_held)):
            write_weights(folder / EARLY_FILE, model)
        masks = start.pruner.masks if start.pruner else None
        if end.held is not None and (request.goes_on or phase.stage < len(request.design.stages)):
            held = Checkpoint(phase.stage, 0, end.held.model, end.held.optimizer, 0.0)
            write_checkpoint(folder / held_file(phase.stage), held)
        write_checkpoint(
            folder / CHECKPOINT_FILE,
            Checkpoint(
                phase.stage,
                end.epoch,
                model.state_dict(),
                end.optimizer_state,
                seconds,
                masks,
                list(end.accuracies),
                phase.learning_rate,
                end.is_last,
            ),
        )
        _write_progress(folder, request.design, phase, end)

    if phase.epochs:
        until = phase.epochs if until is None else min(until, phase.epochs)
        phase = replace(phase, ramp=start.ramp)
        validate = functools.partial(_measure_copy, model, validation_frames)
        train(model, frames, phase, request.seed, start.pruner, resumption, on_epoch, path, until, validate)
        if until < phase.epochs:
            return _Trained(start.network, phase.stage, epochs_done, time.monotonic() - started, path)
    if start.pruner and start.ramp:
        start.pruner.fill_up(start.ramp.last)
    if phase.is_held:
        reestimate_statistics(model, path, frames, request.seed)
    if phase.is_held and not phase.epochs:
        _prune_held(folder, start, phase.stage)
    return _Trained(start.network, phase.stage, epochs_done, time.monotonic() - started, path)


def _measure_copy(model: QuantizedNetwork, frames: Frames) -> float:
    """Accuracy of a network in training, which goes on as if it were not asked."""
    return evaluate_accuracy(copy.deepcopy(model), frames).overall


def _find_first_rate(request: EvaluationRequest, phase: Phase) -> float:
    """With which a phase begins: the highest, or as low as the stage before left it on a plateau."""
    stage = request.design.stages[phase.stage - 1] if phase.stage else None
    if phase.plateau is None or stage is None or getattr(stage, "rewind", "nothing") != "nothing":
        return phase.learning_rate
    before = load_checkpoint(request.folder / CHECKPOINT_FILE)
    if before is None or before.learning_rate is None:
        return phase.learning_rate  # no stage before was trained
    if before.stage == phase.stage:
        return before.learning_rate
    last = tuple(before.accuracies)[:-1]  # the last epoch's rate was chosen before its accuracy was known
    return plateau_learning_rate(before.learning_rate, last, phase.plateau.patience, phase.plateau.factor)


def _start(request: EvaluationRequest, network: Network, phase: Phase) -> tuple[StageStart, Resumption | None]:
    """What the phase begins with, and what its optimizer goes on from; None: from nothing."""
    if phase.stage == 0:
        return StageStart(network, None, None), None
    goes_on_held = phase.is_held and phase.epochs > 0
    held = load_checkpoint(request.folder / held_file(phase.stage - 1)) if goes_on_held else None
    before = held or load_checkpoint(request.folder / CHECKPOINT_FILE)
    optimizer = make_optimizer(network.model, phase)
    if held is not None:
        load_state(network.model, held.model_state)
    if before is not None and before.stage < phase.stage:  # else this stage is under way, and is not begun anew
        optimizer.load_state_dict(before.optimizer_state)
    stage = request.design.stages[phase.stage - 1]
    start = start_stage(network, stage, optimizer)
    if isinstance(stage, MagnitudeStage) and stage.rewind == "weights" and phase.epochs:
        assert start.pruner is not None
        load_weights(request.folder / EARLY_FILE, network.model)
        start.pruner.apply()
    has_same_weights = start.network is network
    return start, Resumption(0, held.optimizer_state) if held is not None and has_same_weights else None


def _prune_held(folder: Path, start: StageStart, stage: int) -> None:
    """Passes on the state that a stage without training would have gone on from, without the weights it removed.

    Where it removed channels that state no longer fits; the next stage then goes on from the measured network.
    """
    held = load_checkpoint(folder / held_file(stage - 1))
    weights = {f"{name}.weight": mask for name, mask in start.pruner.masks.items()} if start.pruner else {}
    if held is None or any(held.model_state[name].shape != mask.shape for name, mask in weights.items()):
        return
    pruned = {name: t * weights[name].cpu() if name in weights else t for name, t in held.model_state.items()}
    write_checkpoint(folder / held_file(stage), replace(held, stage=stage, model_state=pruned))


def _measure(request: EvaluationRequest, trained: _Trained, frames: Frames) -> Evaluation:
    """`trained.epochs` are those of all stages so far."""
    network, stage = trained.network, trained.stage
    accuracy = evaluate_accuracy(network.model, frames)
    density = measure_density(network.model)
    is_smaller = network.architecture != request.design.architecture
    return Evaluation(
        study_name=request.study_name,
        trial_number=request.trial_number,
        stage=stage,
        accuracy=accuracy.overall,
        accuracy_by_snr=accuracy.by_snr,
        n_frames=accuracy.n_frames,
        cost=count_cost(network.architecture, density),
        density=density,
        epochs=trained.epochs,
        seed=request.seed,
        training_seconds=trained.seconds,
        checkpoint=ArtifactStore(Path(request.artifacts)).relative(request.folder / weights_file(stage)),
        training_path=trained.path.name,
        is_exact=accuracy.is_exact,
        architecture=network.architecture if is_smaller else None,
    )


def _write_stage(folder: Path, model: QuantizedNetwork, evaluation: Evaluation) -> None:
    write_weights(folder / weights_file(evaluation.stage), model)
    write_bytes_atomically(folder / stage_file(evaluation.stage), TypeAdapter(Evaluation).dump_json(evaluation))
    (folder / held_file(evaluation.stage - 1)).unlink(missing_ok=True)  # what the stage that is written began with


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
