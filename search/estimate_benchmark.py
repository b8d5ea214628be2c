"""What hardware estimates take from the training beside them: `python -m search.estimate_benchmark`.

Two trials train at the same time, in turns without an estimate worker and with one that has more estimates to make
than the turn lasts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.hardware_table import STUDY_FILE, ZCU111, draw_member
from search.local_services import Service
from spaces.architecture import ArchitectureConfig
from spaces.study_config import load_study_config
from storage.database import Database, open_database
from storage.estimates import load_estimates, make_estimate_key, request_estimate
from storage.radioml_twin import ensure_twin
from storage.records import EstimateState

WAY = "native"

TIMEOUT_S = 600

SECONDS_PER_ESTIMATE = 3.0
"""Less than any takes, so that the queue never runs dry."""


class BenchmarkError(Exception):
    """The estimate worker ended, or made no estimate."""


@dataclass(frozen=True)
class Slowdown:
    """Frames per second of two trials together, medians of the turns."""

    alone_fps: float
    beside_estimates_fps: float
    n_estimates: int
    """Made during all turns beside them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line; 1 where no estimate was made."""
    args = _parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="estimate-benchmark-") as folder:
        try:
            slowdown = measure(args.network, args.rounds, args.seconds, args.processes, Path(folder))
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 1
    print(describe_slowdown(slowdown, args.network))
    return 0


def measure(network: str, n_rounds: int, seconds: float, n_processes: int, folder: Path) -> Slowdown:
    """Turns of at least `seconds`, without and with an estimate worker. Raises BenchmarkError."""
    from workers.benchmark import NETWORKS  # imports torch, which --help does not need
    from workers.benchmark_crews import start_crews

    url = f"sqlite:///{folder}/studies.db"
    database = open_database(url)
    keys = _queue_estimates(database, int(n_rounds * seconds / SECONDS_PER_ESTIMATE) * n_processes)
    data = ensure_twin(frames_per_cell=8, seed=2018, folder=folder)
    stores = ["--storage", url, "--artifacts", str(folder / "artifacts")]
    command = ["fpga.estimate_worker", *stores, "--processes", str(n_processes)]
    alone, beside = [], []
    with start_crews(ArchitectureConfig(blocks=NETWORKS[network]), 256, [WAY], data) as crews:
        for _ in range(n_rounds):
            alone.append(crews[WAY].train(seconds).frames_per_second)
            worker = Service("estimate worker", command, folder / "worker.log")
            try:
                beside.append(crews[WAY].train(seconds).frames_per_second)
            finally:
                has_ended = worker.exit_code is not None
                worker.stop()
            if has_ended:
                raise BenchmarkError(f"the estimate worker ended: {worker.last_line()}")
    estimates = load_estimates(database, keys).values()
    n_estimates = sum(estimate.state is EstimateState.ESTIMATED for estimate in estimates)
    if n_estimates == 0:
        raise BenchmarkError(f"no estimate was made in {seconds:g} s; expected --seconds longer than one takes")
    return Slowdown(statistics.median(alone), statistics.median(beside), n_estimates)


def describe_slowdown(slowdown: Slowdown, network: str) -> str:
    """One line for the README."""
    ratio = slowdown.beside_estimates_fps / slowdown.alone_fps
    return (
        f"two trials of {network}: {slowdown.alone_fps:,.0f} frames/s alone, {slowdown.beside_estimates_fps:,.0f} "
        f"beside estimates ({ratio:.1%}), {slowdown.n_estimates} of which were made meanwhile"
    )


def _queue_estimates(database: Database, n_estimates: int) -> list[str]:
    config = load_study_config(STUDY_FILE)
    keys = []
    for seed in range(max(n_estimates, 1)):
        architecture = draw_member(config, seed)
        request_estimate(database, architecture, ZCU111, TIMEOUT_S)
        keys.append(make_estimate_key(architecture, ZCU111))
    return keys


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m search.estimate_benchmark", description="What estimates take from the training beside them."
    )
    parser.add_argument(
        "--network", default="BacalhauNet w6a6", help="one of python -m workers.benchmark (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind (%(default)s)")
    parser.add_argument("--seconds", type=float, default=90.0, help="least duration of a turn (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="estimates at once (%(default)s)")
    args = parser.parse_args(arguments)
    if args.rounds < 1 or args.seconds <= 0 or args.processes < 1:
        parser.error("rounds, seconds and processes must be positive")
    return args


if __name__ == "__main__":
    sys.exit(main())
