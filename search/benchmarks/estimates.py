"""How much hardware estimates slow down training beside them: `python -m search.estimate_benchmark`.

Two trials train at the same time. Turns without an estimate worker alternate with turns beside one, which has done its
imports and is busy all the time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from search.benchmarks.hardware_table import STUDY_FILE, ZCU111, draw_member
from search.processes.local_services import Service
from spaces.architecture import ArchitectureConfig
from spaces.study_config import load_study_config
from storage.commands import make_parser, run_command
from storage.database import Database, open_database
from storage.estimates import load_estimates, make_estimate_key, request_estimate
from storage.records import EstimateState
from storage.twin.cached_twin import ensure_twin

WAY = "native"

TIMEOUT_S = 600

N_ESTIMATES = 200
"""More than can be made: the queue never runs empty."""

POLL_S = 0.5


class BenchmarkError(Exception):
    """The estimate worker ended, or makes no estimates."""


@dataclass(frozen=True)
class Slowdown:
    """Frames per second of both trials together, medians over the turns."""

    alone_fps: float
    beside_estimates_fps: float
    n_made: int
    """Estimates finished during all turns beside them."""
    n_at_work: int
    """Estimates in progress at the end of such a turn; the minimum over the turns."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line. Exit code 1 where the estimate worker failed."""
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
    """Turns take at least `seconds`. Raises BenchmarkError."""
    from workers.benchmarks.crews import start_crews
    from workers.benchmarks.training_speed import NETWORKS  # imports torch, which --help does not need

    if network not in NETWORKS:
        raise BenchmarkError(f"--network is {network}; expected one of {', '.join(NETWORKS)}")
    url = f"sqlite:///{folder}/studies.db"
    database = open_database(url)
    keys = _queue_estimates(database)
    data = ensure_twin(frames_per_cell=8, seed=2018, folder=folder)
    stores = ["--storage", url, "--artifacts", str(folder / "artifacts")]
    command = ["fpga.estimate_worker", *stores, "--processes", str(n_processes)]
    alone, beside, made, at_work = [], [], [], []
    with start_crews(ArchitectureConfig(blocks=NETWORKS[network]), 256, [WAY], data) as crews:
        for _ in range(n_rounds):
            alone.append(crews[WAY].train(seconds).frames_per_second)
            worker = Service("estimate worker", command, folder / "worker.log")
            try:
                before = _wait_for_one_more(database, keys, worker)
                beside.append(crews[WAY].train(seconds).frames_per_second)
                made.append(_count(database, keys, EstimateState.ESTIMATED) - before)
                at_work.append(_count(database, keys, EstimateState.RUNNING))
                _check_running(worker)
            finally:
                worker.stop()
    if min(at_work) == 0:
        raise BenchmarkError(f"no estimate was in work at the end of a turn; the worker said: {worker.last_line()}")
    return Slowdown(statistics.median(alone), statistics.median(beside), sum(made), min(at_work))


def describe_slowdown(slowdown: Slowdown, network: str) -> str:
    """One line for the README."""
    ratio = slowdown.beside_estimates_fps / slowdown.alone_fps
    return (
        f"two trials of {network}: {slowdown.alone_fps:,.0f} frames/s alone, {slowdown.beside_estimates_fps:,.0f} "
        f"beside estimates ({ratio:.1%}), of which {slowdown.n_made} were finished and {slowdown.n_at_work} or more "
        "in work"
    )


def _wait_for_one_more(database: Database, keys: Sequence[str], worker: Service) -> int:
    """Waits until the worker has made its first estimate, so that its imports are done. Returns how many exist."""
    before = _count(database, keys, EstimateState.ESTIMATED)
    while (now := _count(database, keys, EstimateState.ESTIMATED)) == before:
        _check_running(worker)
        time.sleep(POLL_S)
    return now


def _count(database: Database, keys: Sequence[str], state: EstimateState) -> int:
    return sum(estimate.state is state for estimate in load_estimates(database, keys).values())


def _check_running(worker: Service) -> None:
    if worker.exit_code is not None:
        raise BenchmarkError(f"the estimate worker ended with exit code {worker.exit_code}: {worker.last_line()}")


def _queue_estimates(database: Database) -> list[str]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = load_study_config(STUDY_FILE)
    architectures = [draw_member(config, seed) for seed in range(N_ESTIMATES)]
    for architecture in architectures:
        request_estimate(database, architecture, ZCU111, TIMEOUT_S)
    return [make_estimate_key(architecture, ZCU111) for architecture in architectures]


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.estimate_benchmark", description="What estimates take from the training beside them."
    )
    parser.add_argument(
        "--network", default="BacalhauNet w6a6", help="one of python -m workers.benchmark (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind (%(default)s)")
    parser.add_argument("--seconds", type=float, default=40.0, help="least duration of a turn (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="estimates at once (%(default)s)")
    args = parser.parse_args(arguments)
    if args.rounds < 1 or args.seconds <= 0 or args.processes < 1:
        parser.error("rounds, seconds and processes must be positive")
    return args


if __name__ == "__main__":
    run_command(main)
