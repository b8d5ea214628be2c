"""Ways to train trials on a GPU, and how many frames a second each takes in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler

from spaces.architecture import ArchitectureConfig
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from workers.benchmarks.reading_speed import PerItemDataset
from workers.functional_network import TrainingForward, make_exact_forward
from workers.gpu.device_frames import DeviceFrames
from workers.gpu.training import DeviceTrial, EpochPlan
from workers.model import QuantizedNetwork, build_model
from workers.training import Phase, make_optimizer

FRAME_LENGTH, N_CLASSES = 1024, 24

CHUNK_STEPS = 50
"""Steps of each trial between two looks at the clock, for each of which the device is waited for."""

LONGEST_EPOCH_S = 60.0
"""Epochs that would take longer are calculated from the frames per second instead of run."""


class Way(StrEnum):
    """What is compared."""

    REFERENCE = "reference"
    """The challenge's: h5py item by item through torch's DataLoader, Brevitas layers, the loss fetched at each step."""
    BREVITAS = "brevitas"
    """Brevitas layers, frames on the device."""
    EAGER = "eager"
    """The functional twin, frames on the device."""
    CAPTURED = "captured"
    """The same, each step one CUDA graph."""


class Launching(StrEnum):
    """Who starts the steps of several trials."""

    TURNS = "in turns"
    """One thread, a step of each trial after another."""
    THREADS = "threads"
    """Each trial its own, as in a pool's actor."""


@dataclass(frozen=True)
class GpuSpeed:
    """What one way reached with a number of trials at once."""

    way: str
    n_trials: int
    launching: str
    frames_per_second: float | None
    """Of all trials together; None where the device had not the memory."""
    epoch_seconds: float | None
    """In which each trial trains on every frame of a full-size set once."""
    is_whole_epoch: bool
    """Whether such an epoch was run, or calculated from frames per second."""


def draw_frames(n_frames: int, device: torch.device) -> DeviceFrames:
    """Codes and labels drawn evenly: as fast to train on as any."""
    generator = torch.Generator(device).manual_seed(0)
    shape = n_frames, 2, FRAME_LENGTH
    stored = torch.randint(-128, 128, shape, dtype=torch.int8, device=device, generator=generator)
    labels = torch.randint(0, N_CLASSES, (n_frames,), device=device, generator=generator)
    return DeviceFrames(stored, labels, 3 / 128)


def measure_reference(
    architecture: ArchitectureConfig, path: Path, device: torch.device, batch_size: int, seconds: float, n_frames: int
) -> GpuSpeed:
    """The challenge's way on the training frames of the file at `path`; an epoch of `n_frames` is calculated."""
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    steps = train_reference(architecture, path, device, batch_size)
    next(steps)
    started, n_trained = time.perf_counter(), 0
    while n_trained == 0 or time.perf_counter() - started < seconds:
        n_trained += next(steps)
    speed = n_trained / (time.perf_counter() - started)
    return GpuSpeed(Way.REFERENCE, 1, Launching.TURNS, speed, n_frames / speed, is_whole_epoch=False)


def train_reference(
    architecture: ArchitectureConfig, path: Path, device: torch.device, batch_size: int
) -> Iterator[int]:
    """Trains on, over and over; yields each step's number of frames."""
    file = inspect_radioml(path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, validation_fraction=0.1)
    dataset, sampler = PerItemDataset(file.path), SubsetRandomSampler(split.train.tolist())
    model = build_model(architecture, seed=0).train().to(device)
    optimizer = make_optimizer(model, _phase(batch_size))
    while True:
        for frames, labels, _ in DataLoader(dataset, batch_size=batch_size, sampler=sampler, drop_last=True):
            loss = nn.functional.cross_entropy(model(frames.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.cpu().item()
            yield len(labels)


def measure_trials(
    architecture: ArchitectureConfig,
    way: Way,
    frames: DeviceFrames,
    batch_size: int,
    n_trials: int,
    launching: Launching,
    seconds: float,
) -> GpuSpeed:
    """Full batches for about `seconds`; then a whole epoch, the batch that ends it included, where that is short."""
    try:
        trials = [make_trial(architecture, way, frames, batch_size, seed) for seed in range(n_trials)]
        with ThreadPoolExecutor(n_trials) as executor:
            run = _run_in_turns if launching is Launching.TURNS else _run_in_threads(executor)
            _begin_epoch(trials, frames, batch_size)
            speed = _measure_chunks(trials, run, frames, batch_size, seconds)
            epoch_seconds = len(frames) * n_trials / speed
            is_short = epoch_seconds <= LONGEST_EPOCH_S
            if is_short:
                _begin_epoch(trials, frames, batch_size)
                started = time.perf_counter()
                run(trials, -(-len(frames) // batch_size))
                _wait(trials)
                epoch_seconds = time.perf_counter() - started
    except torch.cuda.OutOfMemoryError:
        return GpuSpeed(way, n_trials, launching, None, None, is_whole_epoch=False)
    return GpuSpeed(way, n_trials, launching, speed, epoch_seconds, is_short)


def make_trial(
    architecture: ArchitectureConfig, way: Way, frames: DeviceFrames, batch_size: int, seed: int
) -> DeviceTrial:
    """A trial that is to train on these frames."""
    model = build_model(architecture, seed).train().to(frames.labels.device)
    is_captured = way is Way.CAPTURED
    optimizer = make_optimizer(model, _phase(batch_size))
    return DeviceTrial(model, _make_forward(model, way), frames, optimizer, batch_size, is_captured=is_captured)


def profile_steps(architecture: ArchitectureConfig, way: Way, frames: DeviceFrames, batch_size: int) -> str:
    """The 15 kernels that took most of the device's time, over 20 steps of one trial."""
    from torch.profiler import ProfilerActivity, profile

    trials = [make_trial(architecture, way, frames, batch_size, seed=0)]
    _begin_epoch(trials, frames, batch_size)
    _run_in_turns(trials, 3)
    _wait(trials)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        _run_in_turns(trials, 20)
        _wait(trials)
    is_on_device = frames.labels.device.type == "cuda"
    by = "self_cuda_time_total" if is_on_device else "self_cpu_time_total"
    table: str = profiled.key_averages().table(sort_by=by, row_limit=15)
    return table


Run = Callable[[Sequence[DeviceTrial], int], None]
"""Starts so many steps of each trial, as far as the epoch has them."""


def _make_forward(model: QuantizedNetwork, way: Way) -> TrainingForward:
    return model if way is Way.BREVITAS else make_exact_forward(model)


def _measure_chunks(
    trials: Sequence[DeviceTrial], run: Run, frames: DeviceFrames, batch_size: int, seconds: float
) -> float:
    """Frames per second of all trials together, in full batches, the first chunk left out."""
    steps_of_epoch = len(frames) // batch_size
    n_steps = min(CHUNK_STEPS, steps_of_epoch)
    run(trials, n_steps)
    _wait(trials)
    steps_left = steps_of_epoch - n_steps
    started, n_trained = time.perf_counter(), 0
    while n_trained == 0 or time.perf_counter() - started < seconds:
        if steps_left < n_steps:
            _begin_epoch(trials, frames, batch_size)
            steps_left = steps_of_epoch
        run(trials, n_steps)
        _wait(trials)
        steps_left -= n_steps
        n_trained += n_steps * batch_size * len(trials)
    return n_trained / (time.perf_counter() - started)


def _run_in_turns(trials: Sequence[DeviceTrial], n_steps: int) -> None:
    for _ in range(n_steps):
        for trial in trials:
            trial.step()


def _run_in_threads(executor: ThreadPoolExecutor) -> Run:
    def run(trials: Sequence[DeviceTrial], n_steps: int) -> None:
        for _ in executor.map(lambda trial: _run_in_turns([trial], n_steps), trials):
            pass  # as each has started its steps; what one raises is raised here

    return run


def _wait(trials: Sequence[DeviceTrial]) -> None:
    for trial in trials:
        trial.finish_epoch()


def _begin_epoch(trials: Sequence[DeviceTrial], frames: DeviceFrames, batch_size: int) -> None:
    device = frames.labels.device
    plan = EpochPlan(torch.randperm(len(frames), device=device), [1e-3] * -(-len(frames) // batch_size))
    for trial in trials:
        trial.begin_epoch(plan)


def _phase(batch_size: int) -> Phase:
    return Phase(stage=0, epochs=1, learning_rate=1e-3, weight_decay=1e-4, batch_size=batch_size, restart_epochs=1)
