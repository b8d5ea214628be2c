"""How fast twins are made, and in how much memory: `python -m storage.twin_benchmark`."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from storage.commands import make_parser, run_command
from storage.dataset.radioml import DatasetError
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.cell_writers import GeneratorError
from storage.twin.file import default_processes, request_twin, write_twin

SAMPLING_INTERVAL_S = 0.05


@dataclass(frozen=True)
class TwinSpeed:
    """One twin made, the start of the processes included."""

    profile: str
    n_frames: int
    processes: int
    wall_s: float
    cpu_s: float
    """Of all processes together."""
    peak_bytes: int
    """The most that all processes together held at one moment, shared pages counted once (Linux: PSS)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes one twin per profile and prints a table; exit code 2 where it cannot."""
    args = _parse_arguments(arguments)
    table = Table("profile", *("frames", "processes", "s", "frames/s", "per CPU s", "peak MiB"))
    try:
        for profile in args.profile or [next(iter(SIGNAL_SETS))]:
            speed = measure_speed(profile, args.frames_per_cell, args.processes, args.folder)
            table.add_row(*_row(speed))
    except (DatasetError, GeneratorError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    Console().print(table)
    return 0


def measure_speed(profile: str, frames_per_cell: int, processes: int, folder: Path | None = None) -> TwinSpeed:
    """Makes a twin in a temporary folder (within `folder`) and removes it. Raises DatasetError, OSError."""
    if processes < 1:
        raise DatasetError(f"processes is {processes}; expected at least 1")
    twin = request_twin(frames_per_cell, 2018, profile)
    with tempfile.TemporaryDirectory(dir=folder) as name, _watch_memory() as samples:
        wall_s, cpu_s = time.perf_counter(), _cpu_s()
        write_twin(Path(name) / "twin.hdf5", twin, processes)
        wall_s, cpu_s = time.perf_counter() - wall_s, _cpu_s() - cpu_s
    return TwinSpeed(profile, twin.n_frames, processes, wall_s, cpu_s, max(samples))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@contextmanager
def _watch_memory() -> Iterator[list[int]]:
    """Bytes held by this process and those it started, sampled all through the block."""
    samples = [_held_bytes()]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLING_INTERVAL_S):
            samples.append(_held_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        is_over.set()
        watcher.join()


def _held_bytes() -> int:
    this = psutil.Process()
    return sum(_proportional_set_bytes(process) for process in (this, *this.children()))


def _proportional_set_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:  # it has ended
        return 0


def _row(speed: TwinSpeed) -> tuple[str, ...]:
    return (
        speed.profile,
        f"{speed.n_frames:,}",
        str(speed.processes),
        f"{speed.wall_s:.1f}",
        f"{speed.n_frames / speed.wall_s:,.0f}",
        f"{speed.n_frames / speed.cpu_s:,.0f}",
        f"{speed.peak_bytes / 2**20:,.0f}",
    )


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m storage.twin_benchmark", description=__doc__)
    parser.add_argument("--profile", choices=SIGNAL_SETS, action="append", help="may be repeated; default the first")
    parser.add_argument("--frames-per-cell", type=int, default=64, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--processes", type=int, default=default_processes(), metavar="N", help="default one per core, up to 16"
    )
    parser.add_argument("--folder", type=Path, help="where the file is made and removed; default the temporary folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
