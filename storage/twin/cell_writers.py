"""Writes the frames of a twin's cells to their places in its file, in this process or in several at once."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from storage.child_processes import module_environment
from storage.signals.cells import Reals
from storage.signals.signal_sets import SIGNAL_SETS

IN_PROCESS_SAMPLES = 20_000 * 1024
"""Complex samples below which processes take longer to start than they save."""


class GeneratorError(Exception):
    """A process that makes frames ended before it had finished."""


@dataclass(frozen=True)
class CellSource:
    """Which frames the cells have."""

    profile: str
    seed: int
    frames_per_cell: int

    @property
    def samples_per_cell(self) -> int:
        """Complex ones."""
        return self.frames_per_cell * SIGNAL_SETS[self.profile].frame_length


@dataclass(frozen=True)
class CellPlace:
    """One cell, and where in the file its frames begin."""

    cell: int
    class_name: str
    snr_db: int
    offset: int
    """In bytes."""


def fill_cells(
    path: Path, source: CellSource, places: Sequence[CellPlace], processes: int
) -> Generator[int, None, None]:
    """Writes the cells' frames in place and yields the number of each finished cell, in any order.

    Closing the iterator ends its processes. Raises OSError where the file cannot be written, and GeneratorError.
    """
    if processes == 1 or len(places) * source.samples_per_cell < IN_PROCESS_SAMPLES:
        yield from _fill_in_process(path, source, places)
    else:
        yield from _fill_in_processes(path, source, places, min(processes, len(places)))


def _fill_in_process(path: Path, source: CellSource, places: Sequence[CellPlace]) -> Generator[int, None, None]:
    with path.open("r+b", buffering=0) as file:
        for place in places:
            _fill_cell(file.fileno(), source, place)
            yield place.cell


def _fill_cell(descriptor: int, source: CellSource, place: CellPlace) -> None:
    offset, signals = place.offset, SIGNAL_SETS[source.profile]
    for block in signals.generate_cell(place.class_name, place.snr_db, source.seed, source.frames_per_cell):
        offset = _write_at(descriptor, block, offset)


def _write_at(descriptor: int, block: Reals, offset: int) -> int:
    """The offset behind the block."""
    rest = memoryview(np.ascontiguousarray(block, "<f4").data).cast("B")
    while rest:
        n_written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[n_written:], offset + n_written
    return offset


def _fill_in_processes(
    path: Path, source: CellSource, places: Sequence[CellPlace], processes: int
) -> Generator[int, None, None]:
    """One thread per process hands it one cell after the other, and collects its answers."""
    jobs: queue.SimpleQueue[CellPlace | None] = queue.SimpleQueue()
    for job in (*places, *[None] * processes):
        jobs.put(job)
    answers: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(processes):
            workers.append(_start_worker(path.absolute(), source))
            threading.Thread(target=_drive, args=(workers[-1], jobs, answers), daemon=True).start()
        for _ in places:
            answer = answers.get()
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()


def _start_worker(path: Path, source: CellSource) -> subprocess.Popen[str]:
    """In a process group of its own, which Ctrl-C at the terminal does not reach: it ends with this process.

    A plain command rather than multiprocessing, whose processes import the caller's main module again.
    """
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "storage.twin.cell_writers", str(path), json.dumps(asdict(source))],
        env=module_environment() | one_thread,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def _drive(
    worker: subprocess.Popen[str],
    jobs: queue.SimpleQueue[CellPlace | None],
    answers: queue.SimpleQueue[int | Exception],
) -> None:
    assert worker.stdin is not None  # both are pipes
    assert worker.stdout is not None
    while (place := jobs.get()) is not None:
        try:
            worker.stdin.write(json.dumps(asdict(place)) + "\n")
            worker.stdin.flush()
            answer = json.loads(worker.stdout.readline())
        except (OSError, ValueError):
            answers.put(GeneratorError(f"a process that makes frames ended with exit code {worker.wait()}"))
            break
        answers.put(answer["cell"] if "cell" in answer else OSError(*answer["error"]))
    with contextlib.suppress(OSError):
        worker.stdin.close()
    worker.stdout.close()


def _work(path: str, source: CellSource) -> None:
    """A worker process: reads one cell per line of standard input, and answers each by a line on standard output."""
    jobs: queue.SimpleQueue[CellPlace] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    descriptor = os.open(path, os.O_WRONLY)
    while True:
        place = jobs.get()
        try:
            _fill_cell(descriptor, source, place)
            print(json.dumps({"cell": place.cell}), flush=True)
        except OSError as error:
            print(json.dumps({"error": [error.errno, error.strerror, path]}), flush=True)


def _receive(jobs: queue.SimpleQueue[CellPlace]) -> None:
    """Ends this process, also in the middle of a cell, when the one that started it has ended."""
    for line in sys.stdin:
        jobs.put(CellPlace(**json.loads(line)))
    os._exit(0)


if __name__ == "__main__":
    _work(sys.argv[1], CellSource(**json.loads(sys.argv[2])))
