"""Seconds from promotion to finished estimate and code: `python -m search.promotion_benchmark`.

Each round trains its own network, so that no earlier build is reused. It promotes the network by the command, while a
build worker waits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from search.processes.local_services import Service
from spaces.architecture import ArchitectureConfig
from spaces.known_designs import bacalhaunet_network, vgg10_network
from storage.builds import load_builds
from storage.child_processes import module_environment
from storage.command_options import parse_count
from storage.commands import make_parser, run_command
from storage.database import open_existing_database
from storage.records import Build, BuildState

NETWORKS = {"BacalhauNet w6a6": bacalhaunet_network(6, linear=6), "VGG10 w4a4": vgg10_network(4, clip=2.0)}

STUDY_NAME = "promotion-benchmark"

WAITING = "waiting for builds"
"""Printed by a build worker that is ready."""

POLL_S = 0.1


class BenchmarkError(Exception):
    """A command or the build failed. The text says which, and where its output is."""


@dataclass(frozen=True)
class Round:
    """One promotion, in seconds since the command started."""

    network: str
    queued_s: float
    """Until the exported network was in the queue."""
    promoted_s: float
    """Until the command ended, with the network measured on the test part."""
    finished_s: float
    """Until estimates, code and verification were in the database."""
    frames_per_cell: int
    """Of the twin; a tenth of them are the test part."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table, or JSON. Exit code 1 where a command failed."""
    args = _parse_arguments(arguments)
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="promotion-benchmark-") as folder:
        try:
            for name in args.networks:
                for number in range(args.rounds):
                    own = Path(folder) / f"{len(rounds)}"
                    rounds.append(run_round(name, number + 1, args.frames_per_cell, own))
                    _print_progress(f"{name}, round {number + 1}: {rounds[-1].finished_s:.1f} s")
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 1
    print(json.dumps([asdict(one) for one in rounds]) if args.json else describe_rounds(rounds))
    return 0


def run_round(name: str, seed: int, frames_per_cell: int, folder: Path) -> Round:
    """Trains one network, then promotes it and waits for its build. Raises BenchmarkError."""
    folder.mkdir(parents=True)
    study_file = folder / f"{STUDY_NAME}.yaml"
    study_file.write_text(json.dumps(make_study(NETWORKS[name], seed, frames_per_cell)))  # JSON is YAML
    _print_progress(f"{name}: training")
    _run_module(["search.run", str(study_file), "--local", "--no-build", "--no-dashboard"], folder)
    url = f"sqlite:///{folder.resolve()}/runs/studies.db"
    stores = ["--storage", url, "--artifacts", str((folder / "runs/artifacts").resolve())]
    worker = Service("build worker", ["fpga.run", *stores], folder / "worker.log")
    try:
        while WAITING not in worker.last_line():
            _check_running(worker)
            time.sleep(POLL_S)
        _print_progress(f"{name}: promoted")
        return _time_promotion(name, frames_per_cell, url, stores, worker, folder)
    finally:
        worker.stop()


def make_study(architecture: ArchitectureConfig, seed: int, frames_per_cell: int) -> dict[str, object]:
    """A study of one trial: this network, trained for an epoch and not promoted by itself."""
    return {
        "study": {"name": STUDY_NAME, "seed": seed, "sampler": "random"},
        "dataset": {"twin": {"frames_per_cell": frames_per_cell}},
        "space": {"blocks": [block.model_dump(mode="json") for block in architecture.blocks]},
        "training": {"batch_size": 32},
        "budget": {"trials": 1, "epochs": 1},
        "promotion": {"top": 0},
    }


def describe_rounds(rounds: Sequence[Round]) -> str:
    """A Markdown table: the median over the rounds, and the longest of them."""
    lines = [
        f"Seconds from `python -m search.promote` on, {os.cpu_count()} cores, twin of {rounds[0].frames_per_cell} "
        "frames per cell:",
        "",
        "| network | rounds | exported and queued | measured on the test part | estimate, code, verification done |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name in dict.fromkeys(one.network for one in rounds):
        own = [one for one in rounds if one.network == name]
        cells = " | ".join(
            _describe_seconds([float(getattr(one, field)) for one in own])
            for field in ("queued_s", "promoted_s", "finished_s")
        )
        lines.append(f"| {name} | {len(own)} | {cells} |")
    return "\n".join(lines)


def _describe_seconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.0f} (at most {max(seconds):.0f})"


def _time_promotion(
    name: str, frames_per_cell: int, url: str, stores: Sequence[str], worker: Service, folder: Path
) -> Round:
    database = open_existing_database(url)
    started = time.monotonic()
    queued_s = promoted_s = None
    with (folder / "promote.log").open("wb") as log:
        command = [sys.executable, "-m", "search.promote", STUDY_NAME, "0", *stores]
        promotion = subprocess.Popen(command, cwd=folder, env=module_environment(), stdout=log, stderr=log)
        try:
            while True:
                time.sleep(POLL_S)
                now = time.monotonic() - started
                build = next(iter(load_builds(database, STUDY_NAME)), None)
                queued_s = now if queued_s is None and build is not None else queued_s
                promoted_s = now if promoted_s is None and promotion.poll() is not None else promoted_s
                if promotion.poll():
                    raise BenchmarkError(f"search.promote failed: {(folder / 'promote.log').read_text().strip()}")
                _check_running(worker)
                if build is not None and queued_s is not None and promoted_s is not None and _has_ended(build):
                    assert build.finished_at is not None  # it has ended
                    finished_s = queued_s + (build.finished_at - build.queued_at).total_seconds()
                    return Round(name, queued_s, promoted_s, finished_s, frames_per_cell)
        finally:
            promotion.kill()


def _has_ended(build: Build) -> bool:
    """Raises BenchmarkError where the build failed."""
    if build.state is BuildState.FAILED:
        raise BenchmarkError(f"the build failed: {build.message}")
    return build.state is BuildState.SUCCEEDED


def _check_running(worker: Service) -> None:
    if worker.exit_code is not None:
        raise BenchmarkError(f"the build worker ended with exit code {worker.exit_code}: {worker.last_line()}")


def _run_module(arguments: Sequence[str], folder: Path) -> None:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=module_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{arguments[0]} ended with exit code {done.returncode}: {done.stderr.strip()}")


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.promotion_benchmark",
        description="Seconds from promotion to finished estimate, generated code and verification.",
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--rounds", type=parse_count, default=2, help="of each network (%(default)s)")
    parser.add_argument(
        "--frames-per-cell", type=parse_count, default=64, help="of the twin, and so of the test part (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list, for programs")
    return parser.parse_args(arguments)


def _print_progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(main)
