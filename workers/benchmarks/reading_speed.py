"""How fast frames are read and how much memory they take, against the challenge's way; its command."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spaces.blocks import InputQuantizer
from storage.command_options import parse_count
from storage.commands import make_parser, run_command
from storage.dataset.frame_check import check_frames
from storage.dataset.frames import Frames, load_training_frames, load_validation_frames, prepare_frames
from storage.dataset.radioml import DatasetError, Indices, RadioMLFile, inspect_radioml
from storage.signals.radioml_classes import CLASS_NAMES, FRAME_LENGTH, SNRS_DB
from storage.twin.cached_twin import ensure_twin
from workers.benchmarks.per_item_reader import make_loader, split_file
from workers.cpu.allocator import keep_freed_memory
from workers.cpu.blocked_frames import Blocked, gather_codes
from workers.cpu.native_library import find_problem

BATCH_SIZE = 1024
"""As in the challenge's code."""

N_ROUNDS = 5
"""Epochs of each way, in turns."""

QUANTIZER = InputQuantizer()
"""8 bit, clip 3."""

N_PROCESSES = 2

_TIMEOUT_S = 600


@dataclass(frozen=True)
class ReadingSpeed:
    """Frames per second of one thread's CPU time, over an epoch in shuffled batches; medians.

    The file is in the page cache, so on an idle machine CPU time equals elapsed time.
    """

    n_frames: int
    per_item: float
    """Each frame read by h5py, batches made by torch's DataLoader: the challenge's way."""
    samples: float
    """Batches of float32 samples, as training takes them."""
    codes: float
    """Batches of the int8 codes as they are held."""
    blocks: float | None = None
    """Batches of float32 blocks straight from the codes, as native training takes them; None without native code."""


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of one process that holds frames, in MiB, and the growth that the frames caused."""

    rss: float
    """Resident: pages shared with others count in full."""
    pss: float
    """Proportional: a shared page is divided among its processes, so the sum over processes is their real memory."""
    rss_growth: float
    pss_growth: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m workers.reader_benchmark`; returns the exit code."""
    args = _parse_arguments(arguments)
    console = Console(width=100)
    try:
        with tempfile.TemporaryDirectory(prefix="reader-benchmark-") as folder:
            file = inspect_radioml(args.data or _make_twin(Path(folder), args.frames))
            check_frames(file)
            console.print(_speed_table(measure_speed(file, args.frames)))
            console.print(_memory_table(file, measure_memory(file)))
            if args.full_layout:
                full = write_full_layout(Path(folder) / "full.hdf5")
                console.print(f"a file of {full.n_frames:,} frames is opened in {measure_opening(full.path):.2f} s")
    except (DatasetError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure_speed(file: RadioMLFile, n_frames: int) -> ReadingSpeed:
    """Each way in turn reads epochs of at most `n_frames` of the training part, from the page cache.

    One thread reads, and keeps freed memory as workers do. That helps the challenge's way too.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    split = split_file(file)
    rows = np.sort(split.train)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:n_frames])
    frames = load_training_frames(file, split, file.snrs_db[0], QUANTIZER).select(chosen)
    ways: dict[str, Callable[[], int]] = {
        "per_item": lambda: _read_per_item(file.path, rows[chosen]),
        "samples": lambda: _gather_epoch(frames, frames.gather),
        "codes": lambda: _gather_epoch(frames, frames.gather_stored),
    }
    if find_problem() is None:
        ways["blocks"] = lambda: _gather_epoch(frames, partial(_gather_blocks, frames))
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(N_ROUNDS):
        for name, read_epoch in ways.items():
            started = time.thread_time()
            n_read = read_epoch()
            speeds[name].append(n_read / (time.thread_time() - started))
            assert n_read == len(frames), "each way reads every frame once"
    return ReadingSpeed(len(frames), **{name: statistics.median(values) for name, values in speeds.items()})


def measure_memory(file: RadioMLFile) -> tuple[ProcessMemory, ...]:
    """Memory of processes that hold the same codes of training and validation, and have read each once."""
    prepare_frames(file, split_file(file), QUANTIZER)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(N_PROCESSES), context.SimpleQueue()
    processes = [context.Process(target=_hold_frames, args=(file, barrier, results)) for _ in range(N_PROCESSES)]
    for process in processes:
        process.start()
    answers = [results.get() for _ in processes]
    for process in processes:
        process.join()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return tuple(answers)


def count_code_bytes(file: RadioMLFile) -> int:
    """Size of one copy of the codes."""
    split = split_file(file)
    return (len(split.train) + len(split.validation)) * 2 * file.frame_length


def measure_opening(path: Path) -> float:
    """Seconds that `inspect_radioml` takes."""
    started = time.perf_counter()
    inspect_radioml(path)
    return time.perf_counter() - started


def write_full_layout(path: Path, frames_per_cell: int = 4096) -> RadioMLFile:
    """A file of the size of RadioML 2018.01A. Y and Z are written; X is a hole that reads as zeros."""
    n_cells = len(CLASS_NAMES) * len(SNRS_DB)
    n_frames = n_cells * frames_per_cell
    never_written = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    never_written.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    never_written.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as h5:
        space = h5py.h5s.create_simple((n_frames, FRAME_LENGTH, 2))
        h5py.h5d.create(h5.id, b"X", h5py.h5t.IEEE_F32LE, space, never_written)
        one_hot = h5.create_dataset("Y", (n_frames, len(CLASS_NAMES)), np.int64)
        snr_column = h5.create_dataset("Z", (n_frames, 1), np.int64)
        for cell in range(n_cells):
            label, snr = divmod(cell, len(SNRS_DB))
            rows = slice(cell * frames_per_cell, (cell + 1) * frames_per_cell)
            one_hot[rows] = np.tile(np.eye(len(CLASS_NAMES), dtype=np.int64)[label], (frames_per_cell, 1))
            snr_column[rows] = np.full((frames_per_cell, 1), SNRS_DB[snr])
    return inspect_radioml(path)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m workers.reader_benchmark", description=__doc__)
    parser.add_argument("--data", type=Path, help="the HDF5 file; without it, a twin is made and removed")
    parser.add_argument("--frames", type=parse_count, default=40_000, help="of one epoch, at most; default 40000")
    parser.add_argument("--full-layout", action="store_true", help="also: how long 2,555,904 frames take to open")
    return parser.parse_args(arguments)


def _make_twin(folder: Path, n_frames: int) -> Path:
    """A twin whose train part has about `n_frames`."""
    n_cells = len(CLASS_NAMES) * len(SNRS_DB)
    return ensure_twin(max(4, math.ceil(n_frames / n_cells / 0.8)), seed=2018, folder=folder)


def _read_per_item(path: Path, rows: Indices) -> int:
    return sum(len(frames) for frames, _, _ in make_loader(path, rows, BATCH_SIZE, drop_last=False))


def _gather_epoch(frames: Frames, gather: Callable[[Indices], NDArray[np.int8 | np.float32] | Blocked]) -> int:
    labels, n_read = torch.from_numpy(frames.labels), 0
    for batch in torch.split(torch.randperm(len(frames)), BATCH_SIZE):
        iq, _ = gather(batch.numpy()), labels[batch]  # (batch, 2, frame_length), (batch,)
        n_read += iq.n_frames if isinstance(iq, Blocked) else len(torch.from_numpy(iq))
    return n_read


def _gather_blocks(frames: Frames, indices: Indices) -> Blocked:
    assert frames.scale is not None, "the quantizer has exact codes"
    places = indices if frames.positions is None else frames.positions[indices]
    return gather_codes(frames.stored.view(np.int8), places, float(frames.scale))


def _hold_frames(file: RadioMLFile, barrier: Barrier, results: SimpleQueue[ProcessMemory | Exception]) -> None:
    try:
        split = split_file(file)
        barrier.wait(timeout=_TIMEOUT_S)
        before = _read_memory()
        barrier.wait(timeout=_TIMEOUT_S)
        parts = (
            load_training_frames(file, split, file.snrs_db[0], QUANTIZER),
            load_validation_frames(file, split, QUANTIZER),
        )
        for frames in parts:
            _gather_epoch(frames, frames.gather_stored)
        barrier.wait(timeout=_TIMEOUT_S)
        after = _read_memory()
        barrier.wait(timeout=_TIMEOUT_S)  # neither ends before both are measured
        growth = {name: after[name] - before[name] for name in after}
        results.put(ProcessMemory(after["Rss"], after["Pss"], growth["Rss"], growth["Pss"]))
    except Exception as error:  # of any kind: it is raised again in the process that waits
        results.put(error)


def _read_memory() -> dict[str, float]:
    """In MiB, of this process."""
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    return {name.rstrip(":"): int(kibibytes) / 1024 for name, kibibytes, _ in lines}


def _speed_table(speed: ReadingSpeed) -> Table:
    title = f"one epoch of {speed.n_frames:,} frames, batches of {BATCH_SIZE}, one thread (CPU time)"
    table = Table(title=title, title_justify="left", caption_justify="left", min_width=len(title))
    for column in ("way", "frames/s", "ratio"):
        table.add_column(column, justify="left" if column == "way" else "right")
    rows = {
        "per item: h5py and DataLoader": speed.per_item,
        "float32 batches": speed.samples,
        "int8 batches, as held": speed.codes,
        "codes to float32 blocks, in C++": speed.blocks,
    }
    for way, frames_per_second in rows.items():
        if frames_per_second is not None:
            table.add_row(way, f"{frames_per_second:,.0f}", f"{frames_per_second / speed.per_item:.1f}")
    if speed.blocks is None:
        table.caption = f"there is no row for native code: {find_problem()}"
    return table


def _memory_table(file: RadioMLFile, processes: Sequence[ProcessMemory]) -> Table:
    title = f"{len(processes)} processes hold the same {count_code_bytes(file) / 2**20:.1f} MiB of codes; MiB"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("process", "RSS", "PSS", "RSS of frames", "PSS of frames"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for number, memory in enumerate(processes, start=1):
        values = (memory.rss, memory.pss, memory.rss_growth, memory.pss_growth)
        table.add_row(str(number), *(f"{value:.1f}" for value in values))
    sums = (sum(m.rss for m in processes), sum(m.pss for m in processes))
    growths = (sum(m.rss_growth for m in processes), sum(m.pss_growth for m in processes))
    table.add_row("sum", *(f"{value:.1f}" for value in (*sums, *growths)))
    return table


if __name__ == "__main__":
    run_command(main)
