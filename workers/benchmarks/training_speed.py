"""How fast trials train here, against the way of the challenge's code: `python -m workers.benchmark`.

Each way has two processes of one thread that train side by side, as two trials on two cores do. The ways take turns, so
that other work of the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block
from spaces.known_designs import KNOWN_ARCHITECTURES, separable_network
from storage.commands import make_parser, run_command
from storage.twin.cached_twin import ensure_twin
from workers.benchmarks.crews import N_PROCESSES, REFERENCE, Turn, start_crews
from workers.inference_cost import list_mac_layers
from workers.training_path import PathName

WAYS = (REFERENCE, PathName.CHANNELS_LAST.value, PathName.NATIVE.value)

NETWORKS: dict[str, tuple[Block, ...]] = {
    "BacalhauNet w6a6": KNOWN_ARCHITECTURES["bacalhaunet"].blocks,
    "VGG10 w8a8": KNOWN_ARCHITECTURES["vgg10"].blocks,
    "dsc4, small": separable_network(
        ((9, 4, 16), (9, 2, 24), (9, 2, 32), (5, 2, 32)), weights=4, activations=4, linear=8
    ).blocks,
}


@dataclass(frozen=True)
class TrainingSpeed:
    """Speed of one way for one network and batch size; medians over the rounds."""

    network: str
    batch_size: int
    way: str
    frames_per_second: float
    """Of all processes together."""
    frames_per_cpu_second: float
    ratio: float
    """Frames per second relative to the reference."""
    multiply_share: float
    """Operations per CPU second relative to torch's product of two large matrices in the same run, 0 to 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    speeds: list[TrainingSpeed] = []
    with tempfile.TemporaryDirectory(prefix="training-benchmark-") as folder:
        path = ensure_twin(frames_per_cell=8, seed=2018, folder=Path(folder))
        for network, batch_size in itertools.product(args.networks, args.batch_sizes):
            measured = measure(network, batch_size, path, args.rounds, args.seconds)
            speeds += measured
            if not args.json:
                Console(width=100).print(_make_table(measured))
    if args.json:
        print(json.dumps([asdict(speed) for speed in speeds]))
    return 0


def measure(network: str, batch_size: int, data: Path, n_rounds: int, seconds: float) -> list[TrainingSpeed]:
    """All ways in turn; each turn is at least `seconds` and one step."""
    architecture = ArchitectureConfig(blocks=NETWORKS[network])
    turns: dict[str, list[Turn]] = {way: [] for way in WAYS}
    multiply_rates: list[float] = []
    with start_crews(architecture, batch_size, WAYS, data) as crews:
        for _ in range(n_rounds):
            for way, crew in crews.items():
                turns[way].append(crew.train(seconds))
            multiply_rates.append(crews[REFERENCE].multiply(seconds / 3))
    flops_per_frame = 6 * sum(layer.macs for layer in list_mac_layers(architecture))  # forward, and twice that back
    wall = {way: statistics.median(turn.frames_per_second for turn in turns[way]) for way in WAYS}
    cpu = {way: statistics.median(turn.frames_per_cpu_second for turn in turns[way]) for way in WAYS}
    rate = statistics.median(multiply_rates)
    return [
        TrainingSpeed(
            *(network, batch_size, way, wall[way], cpu[way]),
            ratio=wall[way] / wall[REFERENCE],
            multiply_share=cpu[way] * flops_per_frame / rate,
        )
        for way in WAYS
    ]


def _make_table(speeds: Sequence[TrainingSpeed]) -> Table:
    title = f"{speeds[0].network}, batch {speeds[0].batch_size}: {N_PROCESSES} trials of one thread each"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("way", "frames/s", "frames/CPU-s", "ratio", "of GEMM rate"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for speed in speeds:
        numbers = (f"{speed.frames_per_second:,.0f}", f"{speed.frames_per_cpu_second:,.0f}", f"{speed.ratio:.1f}")
        table.add_row(speed.way, *numbers, f"{speed.multiply_share:.0%}")
    return table


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m workers.benchmark", description="How fast trials train here, against the challenge's own way."
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[256, 1024], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way; default 3")
    parser.add_argument("--seconds", type=float, default=6.0, help="least duration of a turn; default 6")
    parser.add_argument("--json", action="store_true", help="one JSON list, when all is measured")
    args = parser.parse_args(arguments)
    if min(args.batch_sizes) < 1 or args.rounds < 1 or args.seconds <= 0:
        parser.error("batch sizes, rounds and seconds must be positive")
    return args


if __name__ == "__main__":
    run_command(main)
