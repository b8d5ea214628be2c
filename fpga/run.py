"""The build worker: takes builds from the queue, one at a time, and records a report or why there is none."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import FrameType

from fpga.finn_build import FinnBuildError, run_finn_build
from fpga.finn_environment import FinnEnvironmentError, ensure_finn_environment
from fpga.process_group import CommandStoppedError
from fpga.reports import ReportError, read_build_report
from fpga.verification import VerificationError, verify_outputs
from storage.artifacts import DEFAULT_ARTIFACTS_FOLDER, ArtifactError, ArtifactStore
from storage.builds import claim_build, fail_build, finish_build, release_build, renew_build_lease
from storage.database import DEFAULT_DATABASE_URL, Database, DatabaseError, open_database
from storage.leases import make_lease_owner
from storage.records import Build, BuildReport

LEASE_S = 60.0

RENEWAL_S = 10.0

QUEUE_POLL_S = 2.0

EXIT_STOPPED = 130

Report = Callable[[str], None]


@dataclass(frozen=True)
class BuildWorker:
    """What one worker works with."""

    database: Database
    store: ArtifactStore
    python: Path
    """The interpreter of FINN's environment."""
    owner: str
    stop: Event
    """Set when the worker shall end: the build in work is killed and given back."""
    report: Report


def main(arguments: list[str] | None = None) -> int:
    """`python -m fpga.run`: 0 when the work is done, 1 when it cannot start, 130 when it was stopped."""
    args = _parse_arguments(arguments)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _make_handler(stop))
    try:
        database = open_database(args.database)
        python = ensure_finn_environment(_print_event, stop)
        worker = BuildWorker(database, ArtifactStore(args.artifacts), python, make_lease_owner(), stop, _print_event)
        run_queue(worker, is_draining=args.drain, max_builds=1 if args.once else None)
    except CommandStoppedError:
        pass
    except (DatabaseError, FinnEnvironmentError) as error:
        print(error, file=sys.stderr)
        return 1
    return EXIT_STOPPED if stop.is_set() else 0


def run_queue(worker: BuildWorker, *, is_draining: bool = False, max_builds: int | None = None) -> int:
    """How many builds it ran: until it is stopped, the queue is empty (when draining), or `max_builds` are done."""
    n_builds = 0
    is_waiting_told = False
    while not worker.stop.is_set() and n_builds != max_builds:
        build = claim_build(worker.database, worker.owner, LEASE_S)
        if build is not None:
            run_claimed_build(worker, build)
            n_builds += 1
            is_waiting_told = False
        elif is_draining:
            worker.report("the build queue is empty")
            break
        else:
            if not is_waiting_told:
                worker.report("waiting for builds")
                is_waiting_told = True
            worker.stop.wait(QUEUE_POLL_S)
    return n_builds


def run_claimed_build(worker: BuildWorker, build: Build) -> None:
    """Runs one build and records how it ended: succeeded, failed with one line, or given back when stopped."""
    started = time.monotonic()
    name = f"build {build.build_id} (study {build.study_name}, trial {build.trial_number})"
    worker.report(f"{name} started, attempt {build.attempt}, for {build.target.board}")
    with _keep_lease(worker, build) as lost_or_stopped:
        try:
            report = make_report(worker, build, lost_or_stopped)
        except CommandStoppedError:
            is_released = release_build(worker.database, build.build_id, worker.owner)
            worker.report(f"{name} given back" if is_released else f"{name} is another worker's now")
            return
        except Exception as error:  # a worker's outermost frame: whatever one build does, the next one is run
            message = describe_error(error)
            fail_build(worker.database, build.build_id, worker.owner, message)
            worker.report(f"{name} failed after {time.monotonic() - started:.0f} s: {message}")
            return
        is_recorded = finish_build(worker.database, build.build_id, worker.owner, report)
    if not is_recorded:
        worker.report(f"{name} is another worker's now")
        return
    worker.report(f"{name} succeeded after {time.monotonic() - started:.0f} s: {describe_report(report)}")


def make_report(worker: BuildWorker, build: Build, stop: Event) -> BuildReport:
    """Build, verify, read. Raises FinnBuildError, VerificationError, ReportError, and CommandStoppedError on `stop`."""
    model, proof = worker.store.path(build.model), worker.store.path(build.proof)
    for file in (model, proof):
        if not file.is_file():
            raise FinnBuildError(f"{file} does not exist; expected what promotion exported")
    folder = worker.store.build_folder(build)
    output = run_finn_build(worker.python, model, proof, build.target, folder, timeout_s=build.timeout_s, stop=stop)
    return read_build_report(output.report_folder, verify_outputs(proof, output.streamlined_outputs))


def describe_error(error: Exception) -> str:
    """One line for the build's row and the log."""
    text = " ".join(str(error).split())
    if isinstance(error, FinnBuildError | VerificationError | ReportError | ArtifactError):
        return text
    return f"{type(error).__name__}: {text}"


def describe_report(report: BuildReport) -> str:
    """One line of numbers."""
    return (
        f"{report.lut} LUT, {report.bram_18k} BRAM18, {report.dsp} DSP, {report.throughput_fps:.0f} frames/s, "
        f"{report.latency_us:.0f} us, {report.n_classes_equal} of {report.n_frames_verified} classes equal"
    )


@contextmanager
def _keep_lease(worker: BuildWorker, build: Build) -> Iterator[Event]:
    """Renews the build's lease meanwhile; the event is set when it was lost, or when the worker shall stop."""
    lost_or_stopped, is_done = Event(), Event()

    def renew() -> None:
        renewed = time.monotonic()
        while not is_done.wait(0.2):
            if worker.stop.is_set():
                lost_or_stopped.set()
            if time.monotonic() - renewed < RENEWAL_S or lost_or_stopped.is_set():
                continue
            renewed = time.monotonic()
            try:
                if not renew_build_lease(worker.database, build.build_id, worker.owner, LEASE_S):
                    lost_or_stopped.set()
            except Exception as error:  # a database that is away for a moment does not end a build
                worker.report(f"the lease of build {build.build_id} could not be renewed: {describe_error(error)}")

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lost_or_stopped
    finally:
        is_done.set()
        thread.join()


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fpga.run", description="Runs queued FPGA builds with FINN+.")
    parser.add_argument("--database", default=DEFAULT_DATABASE_URL, help="default: %(default)s")
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ARTIFACTS_FOLDER, help="default: %(default)s")
    parser.add_argument("--drain", action="store_true", help="end when the queue is empty instead of waiting")
    parser.add_argument("--once", action="store_true", help="end after one build")
    return parser.parse_args(arguments)


def _make_handler(stop: Event) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    return handle


def _print_event(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
