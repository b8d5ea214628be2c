"""The build worker: takes builds from the queue, one at a time, and records a report or why there is none."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fpga.claim_lease import LEASE_S, Attempt, keep_lease
from fpga.claimed_build import BuildResult, find_folder, level_after, make_result
from fpga.failure_text import describe_failure
from fpga.finn_build import read_log_tail
from fpga.rtl_check import check_recorded_build
from fpga.toolchain.external_finn import find_finn
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import FinnEnvironmentError
from fpga.toolchain.machine_tools import LevelError, choose_levels, levels_without_tools
from fpga.toolchain.process_group import CommandStoppedError
from fpga.worker_process import (
    EXIT_STOPPED,
    QUEUE_POLL_S,
    Report,
    add_worker_options,
    ask_database,
    give_back,
    print_event,
    stop_on_signals,
)
from storage.artifacts import ArtifactError, ArtifactStore
from storage.builds import claim_build, fail_build, finish_build, load_builds, release_build, renew_build_lease
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_database
from storage.hardware_reports import BuildReport
from storage.leases import make_lease_owner
from storage.records import Build, BuildLevel, BuildState, FinishedBuild

REFUSAL_S = 300.0
"""How long a build whose files are not here is left alone; then the share may be mounted."""


@dataclass(frozen=True)
class BuildWorker:
    """What one worker works with."""

    database: Database
    store: ArtifactStore
    finn: Finn
    owner: str
    stop: Event
    """Set when the worker shall end: the build in work is killed and given back."""
    report: Report
    levels: tuple[BuildLevel, ...] = (BuildLevel.ESTIMATE, BuildLevel.CODEGEN)
    """What it does, in order; builds that wait for another level are left to other workers."""
    is_checking_rtl: bool = False
    """Whether open-source tools look at the code of each build that it brings to codegen."""


def main(arguments: list[str] | None = None) -> int:
    """`python -m fpga.run`: 0 when the work is done, 1 when it cannot start, 130 when it was stopped."""
    args = _parse_arguments(arguments)
    stop = stop_on_signals()
    try:
        levels = choose_levels(args.levels)
        database = open_database(args.storage)
        finn = find_finn(args.finn, print_event, stop)
        levels = levels_without_tools(levels) if finn.is_container else levels
        store = ArtifactStore(args.artifacts)
        worker = BuildWorker(database, store, finn, make_lease_owner(), stop, print_event, levels, args.rtl_check)
        run_queue(worker, is_draining=args.drain, max_builds=1 if args.once else None)
    except CommandStoppedError:
        pass
    except (ArtifactError, DatabaseError, FinnEnvironmentError, LevelError) as error:
        print(error, file=sys.stderr)
        return 1
    return EXIT_STOPPED if stop.is_set() else 0


def run_queue(worker: BuildWorker, *, is_draining: bool = False, max_builds: int | None = None) -> int:
    """Runs builds until it is stopped, none waits (when draining), or `max_builds` are done. Returns their number.

    A build whose files are not in this worker's store is left to other workers.
    """
    n_builds = 0
    refused: dict[int, float] = {}
    is_waiting_told = False
    while not worker.stop.is_set() and n_builds != max_builds:
        build = _claim_next(worker, refused)
        if build is not None and (missing := _find_missing_file(worker, build)):
            _refuse(worker, build, missing, is_told=build.build_id in refused)
            refused[build.build_id] = time.monotonic()
        elif build is not None:
            refused.pop(build.build_id, None)
            run_claimed_build(worker, build)
            n_builds += 1
            is_waiting_told = False
        elif worker.stop.is_set():
            break
        elif is_draining:
            worker.report(f"the build queue is empty{_describe_left(worker, refused)}")
            break
        else:
            if not is_waiting_told:
                worker.report("waiting for builds")
                is_waiting_told = True
            worker.stop.wait(QUEUE_POLL_S)
    return n_builds


def run_claimed_build(worker: BuildWorker, build: Build) -> None:
    """Runs one build and records the report or the reason; a stopped one is given back."""
    started = time.monotonic()
    name = _name(build)
    worker.report(f"{name} started, attempt {build.attempt}, for {build.target.board}")

    def renew(lease_s: float) -> bool:
        _, log_tail = _find_log(worker, build)
        return renew_build_lease(worker.database, build.build_id, worker.owner, lease_s, log_tail=log_tail)

    with keep_lease(renew, name, worker.stop, worker.report) as lost_or_stopped:
        try:
            outcome = make_outcome(worker, build, lost_or_stopped)
        except CommandStoppedError:
            worker.report(f"{name} {_give_back(worker, build)}")
            return
        is_recorded = _record_outcome(worker, build, outcome)
    words = f"failed after {time.monotonic() - started:.0f} s: {outcome}"
    if isinstance(outcome, BuildResult):
        words = f"succeeded after {time.monotonic() - started:.0f} s at {outcome.level}: "
        words += describe_report(outcome.report) + (f"; {outcome.note}" if outcome.note else "")
    if is_recorded is None:
        words += "; this could not be recorded, and the build will be run again"
    worker.report(f"{name} is another worker's now" if is_recorded is False else f"{name} {words}")
    if worker.is_checking_rtl and is_recorded and isinstance(outcome, BuildResult):
        _check_rtl(worker, build, outcome)


def _check_rtl(worker: BuildWorker, build: Build, result: BuildResult) -> None:
    """Cross-checks a recorded build. The build stays as it is, whatever is found."""
    if result.level is BuildLevel.CODEGEN:
        folder = find_folder(worker.store, worker.finn, build)
        attempt = Attempt(worker.stop, lambda text: worker.report(f"{_name(build)} {text}"))
        with suppress(CommandStoppedError):
            check_recorded_build(worker.database, build, folder, worker.finn, attempt)


def make_outcome(worker: BuildWorker, build: Build, stop: Event) -> BuildResult | str:
    """The result, or one line that says why there is none. Raises CommandStoppedError on `stop`."""

    def tell(event: str) -> None:
        worker.report(f"{_name(build)} {event}")

    try:
        return make_result(worker.store, worker.finn, build, worker.levels, Attempt(stop, tell))
    except CommandStoppedError:
        raise
    except Exception as error:  # a worker's outermost frame: whatever one build does, the next one is run
        return describe_failure(worker.store.root, error, "the build goes on where it stopped when queued anew")


def describe_report(report: BuildReport) -> str:
    """One line of numbers."""
    return (
        f"{report.lut} LUT, {report.bram_18k} BRAM18, {report.dsp} DSP, {report.throughput_fps:.0f} frames/s, "
        f"{report.latency_us:.0f} us, {report.n_classes_equal} of {report.n_frames_verified} classes equal"
    )


def _claim_next(worker: BuildWorker, refused: Mapping[int, float]) -> Build | None:
    recently = {build_id for build_id, since in refused.items() if time.monotonic() - since < REFUSAL_S}
    return ask_database(
        worker, lambda: claim_build(worker.database, worker.owner, LEASE_S, exclude=recently, levels=worker.levels)
    )


def _find_missing_file(worker: BuildWorker, build: Build) -> Path | None:
    try:
        files = [worker.store.path(build.model), worker.store.path(build.reference_vectors)]
    except ArtifactError:  # in no worker's store: the build will fail of it
        return None
    return next((file for file in files if not file.is_file()), None)


def _refuse(worker: BuildWorker, build: Build, missing: Path, *, is_told: bool) -> None:
    _give_back(worker, build)
    if not is_told:
        worker.report(f"{_name(build)} is left to other workers: {missing} does not exist here")


def _describe_left(worker: BuildWorker, refused: Mapping[int, float]) -> str:
    if not refused:
        return ""
    builds = ask_database(worker, lambda: load_builds(worker.database)) or []
    n_left = sum(build.build_id in refused and build.state is BuildState.QUEUED for build in builds)
    return f" but for {n_left} of other workers, whose files are not here" if n_left else ""


def _record_outcome(worker: BuildWorker, build: Build, outcome: BuildResult | str) -> bool | None:
    """False where another worker has the build; None where the database did not answer until the worker stopped."""
    owned = (worker.database, build.build_id, worker.owner)
    folder, log_tail = _find_log(worker, build)
    if isinstance(outcome, str):
        return ask_database(worker, lambda: fail_build(*owned, outcome, folder=folder, log_tail=log_tail))
    finished = FinishedBuild(outcome.report, outcome.level, outcome.note, level_after(outcome.level), folder)
    return ask_database(worker, lambda: finish_build(*owned, finished))


def _find_log(worker: BuildWorker, build: Build) -> tuple[str | None, str | None]:
    """Artifact path of the build's folder, and the last lines of its log so far."""
    try:
        path = find_folder(worker.store, worker.finn, build)
        return worker.store.relative(path), read_log_tail(path)
    except (ArtifactError, OSError):  # no such network: it never had a folder
        return None, None


def _give_back(worker: BuildWorker, build: Build) -> str:
    return give_back(lambda: release_build(worker.database, build.build_id, worker.owner))


def _name(build: Build) -> str:
    return f"build {build.build_id} (study {build.study_name}, {build.network})"


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m fpga.run", description="Runs queued FPGA builds with FINN+.")
    add_worker_options(parser)
    parser.add_argument("--once", action="store_true", help="end after one build")
    parser.add_argument(
        "--rtl-check", action="store_true", help="behind each build, have Yosys and Verilator look at its code"
    )
    parser.add_argument(
        "--levels",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        metavar="A,B,...",
        help=f"do only these of {', '.join(BuildLevel)} (all that the tools here allow; those behind codegen need "
        "Vivado and Vitis HLS, and are untested)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
