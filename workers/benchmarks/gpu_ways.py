"""Ways to train trials on a GPU, and the frames per second of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import nn

from spaces.architecture import ArchitectureConfig
from storage.dataset.radioml import inspect_radioml
from workers.benchmarks.per_item_reader import read_training_batches
from workers.functional_network import make_exact_forward
from workers.gpu.device_frames import DeviceFrames
from workers.gpu.training import DeviceRun
from workers.model import build_model
from workers.training import Phase, make_optimizer
from workers.training_run import EpochPlan, Trainee

FRAME_LENGTH, N_CLASSES = 1024, 24

CHUNK_STEPS = 50
"""Steps of each trial between two readings of the clock, which wait for the device."""

LONGEST_EPOCH_S = 60.0
"""Longer epochs are not run, but calculated from the frames per second."""


class Way(StrEnum):
    """What is compared."""

    REFERENCE = "reference"
    """The challenge's: h5py item by item through torch's DataLoader, Brevitas layers, the loss fetched at each step."""
    BREVITAS = "brevitas"
    """Brevitas layers, frames on the device."""
    EAGER = "eager"
    """The functional network, frames on the device."""
    CAPTURED = "captured"
    """The same, each step one CUDA graph."""


class Launching(StrEnum):
    """Who starts the steps of several trials."""

    TURNS = "in turns"
    """One thread starts a step of each trial in turn."""
    THREADS = "threads"
    """Each trial has a thread, as in a pool's actor."""


@dataclass(frozen=True)
class Workload:
    """What every way trains."""

    architecture: ArchitectureConfig
    frames: DeviceFrames
    """Those of an epoch."""
    batch_size: int

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.frames.labels.device

    @property
    def n_steps(self) -> int:
        """Of an epoch, the shorter last one included."""
        return -(-len(self.frames) // self.batch_size)


@dataclass(frozen=True)
class GpuSpeed:
    """What one way reached with a number of trials at once."""

    way: str
    n_trials: int
    launching: str
    frames_per_second: float | None
    """Of all trials together; None where the device had too little memory."""
    epoch_seconds: float | None
    """Time in which each trial trains on every frame of a full-size set once."""
    is_whole_epoch: bool
    """Whether the epoch was run; else it is calculated from the frames per second."""


def draw_frames(n_frames: int, device: torch.device) -> DeviceFrames:
    """Uniformly random codes and labels: training is as fast on them as on any."""
    generator = torch.Generator(device).manual_seed(0)
    shape = n_frames, 2, FRAME_LENGTH
    stored = torch.randint(-128, 128, shape, dtype=torch.int8, device=device, generator=generator)
    labels = torch.randint(0, N_CLASSES, (n_frames,), device=device, generator=generator)
    return DeviceFrames(stored, labels, 3 / 128)


def measure_reference(workload: Workload, path: Path, seconds: float) -> GpuSpeed:
    """The challenge's way on the training frames of the file at `path`. An epoch of the workload is calculated."""
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    steps = train_reference(workload, path)
    next(steps)
    started, n_trained = time.perf_counter(), 0
    while n_trained == 0 or time.perf_counter() - started < seconds:
        n_trained += next(steps)
    speed = n_trained / (time.perf_counter() - started)
    return GpuSpeed(Way.REFERENCE, 1, Launching.TURNS, speed, len(workload.frames) / speed, is_whole_epoch=False)


def train_reference(workload: Workload, path: Path) -> Iterator[int]:
    """Trains without end; yields each step's number of frames."""
    device = workload.device
    model = build_model(workload.architecture, seed=0).train().to(device)
    optimizer = make_optimizer(model, _phase(workload.batch_size))
    for frames, labels in read_training_batches(inspect_radioml(path), workload.batch_size):
        loss = nn.functional.cross_entropy(model(frames.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.cpu().item()
        yield len(labels)


def measure_runs(workload: Workload, way: Way, n_runs: int, launching: Launching, seconds: float) -> GpuSpeed:
    """Full batches for about `seconds`, then a whole epoch with its last batch if that takes a minute at most."""
    try:
        runs = [make_run(workload, way, seed) for seed in range(n_runs)]
        with ThreadPoolExecutor(n_runs) as executor:
            start_steps = _start_in_turns if launching is Launching.TURNS else _start_in_threads(executor)
            _begin_epoch(runs, workload)
            speed = _measure_chunks(runs, start_steps, workload, seconds)
            epoch_seconds = len(workload.frames) * n_runs / speed
            is_short = epoch_seconds <= LONGEST_EPOCH_S
            if is_short:
                epoch_seconds = _measure_epoch(runs, start_steps, workload)
    except torch.cuda.OutOfMemoryError:
        return GpuSpeed(way, n_runs, launching, None, None, is_whole_epoch=False)
    return GpuSpeed(way, n_runs, launching, speed, epoch_seconds, is_short)


def make_run(workload: Workload, way: Way, seed: int) -> DeviceRun:
    """One network of this seed, to be trained on the workload's frames."""
    model = build_model(workload.architecture, seed).train().to(workload.device)
    forward = model if way is Way.BREVITAS else make_exact_forward(model)
    trainee = Trainee(model, make_optimizer(model, _phase(workload.batch_size)))
    return DeviceRun(trainee, forward, workload.frames, workload.batch_size, is_captured=way is Way.CAPTURED)


def profile_steps(workload: Workload, way: Way) -> str:
    """The 15 kernels that took most of the device's time, over 20 steps of one network."""
    from torch.profiler import ProfilerActivity, profile

    runs = [make_run(workload, way, seed=0)]
    _begin_epoch(runs, workload)
    _start_in_turns(runs, 3)
    _wait(runs)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        _start_in_turns(runs, 20)
        _wait(runs)
    by = "self_cuda_time_total" if workload.device.type == "cuda" else "self_cpu_time_total"
    table: str = profiled.key_averages().table(sort_by=by, row_limit=15)
    return table


StartSteps = Callable[[Sequence[DeviceRun], int], None]
"""Starts so many steps of each run, as far as the epoch has them."""


def _measure_chunks(runs: Sequence[DeviceRun], start_steps: StartSteps, workload: Workload, seconds: float) -> float:
    """Frames per second of all runs together, in full batches, the first chunk left out."""
    steps_of_epoch = len(workload.frames) // workload.batch_size
    n_steps = min(CHUNK_STEPS, steps_of_epoch)
    start_steps(runs, n_steps)
    _wait(runs)
    steps_left = steps_of_epoch - n_steps
    started, n_trained = time.perf_counter(), 0
    while n_trained == 0 or time.perf_counter() - started < seconds:
        if steps_left < n_steps:
            _begin_epoch(runs, workload)
            steps_left = steps_of_epoch
        start_steps(runs, n_steps)
        _wait(runs)
        steps_left -= n_steps
        n_trained += n_steps * workload.batch_size * len(runs)
    return n_trained / (time.perf_counter() - started)


def _measure_epoch(runs: Sequence[DeviceRun], start_steps: StartSteps, workload: Workload) -> float:
    """Seconds of a whole epoch of all runs."""
    _begin_epoch(runs, workload)
    started = time.perf_counter()
    start_steps(runs, workload.n_steps)
    _wait(runs)
    return time.perf_counter() - started


def _start_in_turns(runs: Sequence[DeviceRun], n_steps: int) -> None:
    for _ in range(n_steps):
        for run in runs:
            run.step()


def _start_in_threads(executor: ThreadPoolExecutor) -> StartSteps:
    def start_steps(runs: Sequence[DeviceRun], n_steps: int) -> None:
        for _ in executor.map(lambda run: _start_in_turns([run], n_steps), runs):
            pass  # waits until each has started its steps; what one raises is raised here

    return start_steps


def _wait(runs: Sequence[DeviceRun]) -> None:
    for run in runs:
        run.finish_epoch()


def _begin_epoch(runs: Sequence[DeviceRun], workload: Workload) -> None:
    order = torch.randperm(len(workload.frames), device=workload.device)
    plan = EpochPlan(order, [1e-3] * workload.n_steps)
    for run in runs:
        run.begin_epoch(plan)


def _phase(batch_size: int) -> Phase:
    return Phase(stage=0, epochs=1, learning_rate=1e-3, weight_decay=1e-4, batch_size=batch_size, restart_epochs=1)
