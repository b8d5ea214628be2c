"""Inference time of Rothe's networks here beside his: `python -m workers.inference_benchmark`.

As in his slides: batches of 32 frames of 32 samples through the PyTorch modules, for quantized networks through
Brevitas's. That shows what simulated quantization costs on a CPU; it says nothing of an FPGA. Each round times all
networks in turn, so that other work of the machine meets all of them.
"""

from __future__ import annotations

import csv
import json
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import spaces
from spaces.distributions import Scalar
from spaces.grid import GivenValues
from spaces.study_config import load_study_config
from storage.command_options import parse_count
from storage.commands import make_parser
from workers.model import QuantizedNetwork, build_model

ROWS_FILE = Path(__file__).with_name("rothe_vgglike.csv")
"""J. Rothe, "Quantization and Pruning of CNNs for Efficient FPGA Implementation of Digital Modulation Detection
Firmware", Johns Hopkins M.S. thesis (2024): throughput, time and resources of 81 networks."""

STUDY = Path(spaces.__file__).with_name("rothe_vgglike.yaml")

BATCH_SIZE = 32

BATCHES = 20
"""In one round of one network."""


@dataclass(frozen=True)
class NetworkSpeed:
    """One network, his time and ours."""

    name: str
    bits: int
    published_ms: float
    """Milliseconds for a batch of 32 frames."""
    ms: float
    """The same here: median over the rounds."""

    @property
    def frames_per_s(self) -> float:
        """Here."""
        return 1000 * BATCH_SIZE / self.ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and how alike the orders are."""
    parser = make_parser(
        prog="python -m workers.inference_benchmark", description="Inference time of Rothe's networks here beside his."
    )
    parser.add_argument("--rounds", type=parse_count, default=15, help="default 15")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    speeds = measure_speeds(read_unpruned(), args.rounds)
    if args.json:
        print(json.dumps([asdict(speed) for speed in speeds], indent=1))
        return 0
    _print_table(speeds)
    return 0


def read_unpruned() -> list[Mapping[str, str]]:
    """His rows of networks that are not pruned."""
    return [row for row in csv.DictReader(ROWS_FILE.open()) if row["pruning_percent"] == "0"]


def name_variant(row: Mapping[str, str]) -> str:
    """The network of one of his rows, as `spaces/rothe_vgglike.yaml` names it."""
    return f"{row['fc_layers']}f_{row['conv_layers']}c_{row['maxpool_layers']}mp"


def measure_speeds(rows: Sequence[Mapping[str, str]], n_rounds: int) -> list[NetworkSpeed]:
    """Each network of these rows, with random weights, on one thread."""
    space = load_study_config(STUDY).search_space
    models = []
    for row in rows:
        values: dict[str, Scalar] = {"space.blocks[0].one_of": name_variant(row), "bits": int(row["bits"])}
        models.append(build_model(space.suggest(GivenValues(values)).architecture, seed=0).eval())
    times: list[list[float]] = [[] for _ in models]
    for _ in range(n_rounds):
        for model, taken in zip(models, times, strict=True):
            taken.append(_time_batches(model))
    return [
        NetworkSpeed(
            name_variant(row), int(row["bits"]), float(row["inference_ms_per_batch"]), statistics.median(taken)
        )
        for row, taken in zip(rows, times, strict=True)
    ]


@torch.no_grad()
def _time_batches(model: QuantizedNetwork) -> float:
    """Milliseconds for one batch."""
    frames = torch.zeros(BATCH_SIZE, 2, 32)
    model(frames)
    start = time.perf_counter()
    for _ in range(BATCHES):
        model(frames)
    return 1000 * (time.perf_counter() - start) / BATCHES


def _print_table(speeds: Sequence[NetworkSpeed]) -> None:
    floats = {speed.name: speed for speed in speeds if speed.bits == 32}
    console = Console(file=sys.stdout) if sys.stdout.isatty() else Console(file=sys.stdout, width=120)
    table = Table(title=f"one batch of {BATCH_SIZE} frames: published, and here on one thread of {_name_machine()}")
    for name in (
        "network",
        "bits",
        "published, ms",
        "here, ms",
        "frames/s here",
        "of float: published",
        "of float: here",
    ):
        table.add_column(name, justify="left" if name == "network" else "right")
    for speed in speeds:
        of_float = floats[speed.name]
        ratios = (speed.published_ms / of_float.published_ms, speed.ms / of_float.ms)
        table.add_row(
            speed.name,
            str(speed.bits),
            f"{speed.published_ms:.2f}",
            f"{speed.ms:.2f}",
            f"{speed.frames_per_s:,.0f}",
            *(f"{ratio:.1f}" for ratio in ratios),
        )
    console.print(table)
    for bits in sorted({speed.bits for speed in speeds}, reverse=True):
        own = [speed for speed in speeds if speed.bits == bits]
        order = spearmanr([speed.published_ms for speed in own], [speed.ms for speed in own]).statistic
        console.print(
            f"{bits} bits: rank correlation of the times {order:.2f} over {len(own)} networks", highlight=False
        )


def _name_machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
