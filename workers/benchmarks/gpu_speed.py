"""How fast trials train on a GPU, against the way of the challenge's code: `python -m workers.gpu_benchmark`.

Frames of a full-size data set are drawn on the device. The challenge's way reads a small file that is in memory, which
spares it the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from spaces.architecture import ArchitectureConfig
from storage.commands import make_parser, run_command
from storage.twin.cached_twin import ensure_twin
from workers.benchmarks.gpu_ways import (
    GpuSpeed,
    Launching,
    Way,
    Workload,
    draw_frames,
    measure_reference,
    measure_runs,
    profile_steps,
)
from workers.benchmarks.training_speed import NETWORKS

N_FRAMES = 1_680_000
"""Training frames of RadioML 2018.01A from -6 dB on, rounded: 19 of 26 SNRs of nine tenths of 2,555,904 frames."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    if not torch.cuda.is_available():
        build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs alone"
        print(f"torch {torch.__version__}, built {build}, finds no GPU; expected one to measure", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    architecture = ArchitectureConfig(blocks=NETWORKS[args.network])
    workload = Workload(architecture, draw_frames(args.frames, device), args.batch_size)
    if args.profile:
        print(profile_steps(workload, Way(args.profile)))
        return 0
    speeds = list(measure_all(workload, args.trials, args.seconds))
    title = f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}: {args.network}, batch {args.batch_size}"
    Console(width=100).print(make_table(title, speeds))
    print(json.dumps({"title": title, "n_frames": args.frames, "speeds": [asdict(speed) for speed in speeds]}))
    return 0


def measure_all(workload: Workload, trials: Sequence[int], seconds: float) -> Iterator[GpuSpeed]:
    """Each way in turn, with each number of trials at once. Each takes about `seconds`, and a whole epoch if short."""
    with tempfile.TemporaryDirectory(prefix="gpu-benchmark-") as folder:
        path = ensure_twin(frames_per_cell=32, seed=2018, folder=Path(folder))
        yield measure_reference(workload, path, seconds)
    yield measure_runs(workload, Way.BREVITAS, 1, Launching.TURNS, seconds)
    for way in (Way.EAGER, Way.CAPTURED):
        for n_trials in trials:
            for launching in Launching if n_trials > 1 else (Launching.TURNS,):
                yield measure_runs(workload, way, n_trials, launching, seconds)


def make_table(title: str, speeds: Sequence[GpuSpeed]) -> Table:
    """One row per measurement. Ratios are to the first, the reference."""
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("way", "trials", "launched", "frames/s", "s/epoch", "ratio"):
        table.add_column(column, justify="left" if column in ("way", "launched") else "right")
    reference = speeds[0].frames_per_second
    for speed in speeds:
        row = (speed.way, str(speed.n_trials), speed.launching)
        if speed.frames_per_second is None or speed.epoch_seconds is None or reference is None:
            table.add_row(*row, "out of memory", "", "")
            continue
        epoch = f"{'' if speed.is_whole_epoch else '~'}{speed.epoch_seconds:,.1f}"
        table.add_row(*row, f"{speed.frames_per_second:,.0f}", epoch, f"{speed.frames_per_second / reference:.1f}")
    return table


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m workers.gpu_benchmark", description="How fast trials train on this machine's GPU."
    )
    parser.add_argument("--network", choices=NETWORKS, default="BacalhauNet w6a6", metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=1024, metavar="N")
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="at once")
    parser.add_argument("--frames", type=int, default=N_FRAMES, metavar="N", help=f"of an epoch; default {N_FRAMES}")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement; default 8")
    ways = [way.value for way in Way if way is not Way.REFERENCE]
    parser.add_argument(
        "--profile", choices=ways, metavar="WAY", help=f"only the 15 longest kernels; {', '.join(ways)}"
    )
    args = parser.parse_args(arguments)
    if min(args.batch_size, args.seconds, *args.trials) <= 0 or args.frames < args.batch_size:
        parser.error("batch size, seconds and trials must be positive, frames at least a batch")
    return args


if __name__ == "__main__":
    run_command(main)
