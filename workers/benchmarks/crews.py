"""Pairs of processes that train side by side on command, one pair for each way that a benchmark compares."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig
from spaces.blocks import InputQuantizer
from storage.dataset.frames import load_training_frames
from storage.dataset.radioml import RadioMLFile, inspect_radioml
from workers.benchmarks.per_item_reader import read_training_batches, split_file
from workers.cpu.allocator import keep_freed_memory
from workers.model import QuantizedNetwork, build_model
from workers.training import Phase, make_optimizer
from workers.training_path import PathName, make_training_path

REFERENCE = "reference"
"""The challenge's way: h5py item by item through torch's DataLoader, Brevitas layers, Adam, memory freed as usual."""

N_PROCESSES = 2

_MATRIX_SIZE = 2048
_START_TIMEOUT_S = 300


@dataclass(frozen=True)
class Turn:
    """What the processes of one way reached side by side."""

    frames_per_second: float
    """The sum of each process's own rate, because their last steps end at different times."""
    frames_per_cpu_second: float


@dataclass(frozen=True)
class Share:
    """One process's part of a turn."""

    n_done: int
    """Frames, or products."""
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Crew:
    """The processes of one way, waiting for commands."""

    connections: tuple[Connection, ...]

    def train(self, seconds: float) -> Turn:
        """Trains whole steps for at least this long."""
        shares = self._command("train", seconds)
        return Turn(
            frames_per_second=sum(share.n_done / share.seconds for share in shares),
            frames_per_cpu_second=sum(s.n_done for s in shares) / sum(s.cpu_seconds for s in shares),
        )

    def multiply(self, seconds: float) -> float:
        """Floating-point operations per CPU second of torch's matrix product, in all processes at once."""
        shares = self._command("multiply", seconds)
        return 2 * _MATRIX_SIZE**3 * sum(s.n_done for s in shares) / sum(s.cpu_seconds for s in shares)

    def _command(self, name: str, seconds: float) -> list[Share]:
        for connection in self.connections:
            connection.send((name, seconds))
        return [_receive(connection) for connection in self.connections]


@contextmanager
def start_crews(
    architecture: ArchitectureConfig, batch_size: int, ways: Sequence[str], data: Path
) -> Iterator[dict[str, Crew]]:
    """A crew per way. Each of its processes has a network of its own, and has made one step."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        crews = {}
        for way in ways:
            connections = []
            for _ in range(N_PROCESSES):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_serve, args=(theirs, architecture, batch_size, way, data), daemon=True
                )
                process.start()
                stack.callback(_stop, process)
                connections.append(ours)
            for connection in connections:
                if not connection.poll(_START_TIMEOUT_S):
                    raise TimeoutError(f"the processes of {way} made no step within {_START_TIMEOUT_S} s")
                _receive(connection)
            crews[way] = Crew(tuple(connections))
        yield crews


def _stop(process: SpawnProcess) -> None:
    process.kill()
    process.join()


def _receive(connection: Connection) -> Share:
    answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Share)
    return answer


def _serve(connection: Connection, architecture: ArchitectureConfig, batch_size: int, way: str, data: Path) -> None:
    try:
        torch.set_num_threads(1)
        multiply, steps = _make_multiplication(), _train_forever(architecture, batch_size, way, data)
        connection.send(_repeat(lambda: next(steps), 0.0))
        while True:
            name, seconds = connection.recv()
            connection.send(_repeat(multiply if name == "multiply" else lambda: next(steps), seconds))
    except EOFError:  # the benchmark has ended
        return
    except Exception as error:  # of any kind: it is raised again in the process that waits
        connection.send(error)


def _repeat(step: Callable[[], int], seconds: float) -> Share:
    """Steps until the time is over, at least one."""
    started, cpu_started, n_done = time.perf_counter(), time.process_time(), 0
    while n_done == 0 or time.perf_counter() - started < seconds:
        n_done += step()
    return Share(n_done, time.perf_counter() - started, time.process_time() - cpu_started)


def _make_multiplication() -> Callable[[], int]:
    left, right, product = (torch.ones(_MATRIX_SIZE, _MATRIX_SIZE) for _ in range(3))

    def multiply() -> int:
        torch.mm(left, right, out=product)
        return 1

    return multiply


def _train_forever(architecture: ArchitectureConfig, batch_size: int, way: str, data: Path) -> Iterator[int]:
    """Each step's number of frames."""
    if way != REFERENCE:
        keep_freed_memory()
    file = inspect_radioml(data)
    model = build_model(architecture, seed=0).train()
    optimizer = make_optimizer(model, Phase(0, 1, 0.01, 0.0, batch_size, 1))
    batches = _read_per_item(model, file, batch_size)
    if way != REFERENCE:
        quantizer = architecture.blocks[0]
        assert isinstance(quantizer, InputQuantizer)
        batches = _read_by_path(model, quantizer, PathName(way), file, batch_size)
    for logits, labels in batches:
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()
        yield len(labels)


def _read_per_item(model: QuantizedNetwork, file: RadioMLFile, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for frames, labels in read_training_batches(file, batch_size):
        yield model(frames), labels


def _read_by_path(
    model: QuantizedNetwork, quantizer: InputQuantizer, name: PathName, file: RadioMLFile, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    path = make_training_path(model, name)
    frames = load_training_frames(file, split_file(file), file.snrs_db[0], quantizer)
    labels = torch.from_numpy(frames.labels)
    while True:
        for batch in torch.split(torch.randperm(len(frames)), batch_size):
            if len(batch) == batch_size:
                yield path.forward(path.load(frames, batch)), labels[batch]
