"""The estimate worker: makes the hardware estimates that studies ask for, several at once; its command."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event

from fpga.claim_lease import LEASE_S, Attempt, keep_lease
from fpga.claimed_estimate import make_estimate
from fpga.failure_text import describe_failure
from fpga.finn_build import UnbuildableNetworkError
from fpga.toolchain.external_finn import find_finn
from fpga.toolchain.finn_environment import FinnEnvironmentError
from fpga.toolchain.fork_server import EstimatorPythons, start_fork_servers
from fpga.toolchain.process_group import LEAST, CommandStoppedError
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
from storage.command_options import parse_count
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_database
from storage.estimates import (
    claim_estimate,
    fail_estimate,
    finish_estimate,
    release_estimate,
    renew_estimate_lease,
)
from storage.hardware_reports import HardwareEstimate
from storage.leases import make_lease_owner
from storage.records import Estimate


@dataclass(frozen=True)
class EstimateWorker:
    """What one worker works with."""

    database: Database
    store: ArtifactStore
    pythons: EstimatorPythons
    owner: str
    stop: Event
    """Set when the worker shall end: the estimates in work are killed and given back."""
    report: Report
    n_processes: int = 1
    """Estimates made at once."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no estimate, in one line."""

    message: str
    is_unbuildable: bool


def main(arguments: list[str] | None = None) -> int:
    """`python -m fpga.estimate_worker`: 0 when the work is done, 1 when it cannot start, 130 when it was stopped."""
    args = _parse_arguments(arguments)
    stop = stop_on_signals()
    try:
        database = open_database(args.storage)
        finn = find_finn(args.finn, print_event, stop)
        store = ArtifactStore(args.artifacts)
        owner = make_lease_owner()
        with start_fork_servers(finn, LEAST) as pythons:
            worker = EstimateWorker(database, store, pythons, owner, stop, print_event, args.processes)
            run_queue(worker, is_draining=args.drain)
    except CommandStoppedError:
        pass
    except (ArtifactError, DatabaseError, FinnEnvironmentError) as error:
        print(error, file=sys.stderr)
        return 1
    return EXIT_STOPPED if stop.is_set() else 0


def run_queue(worker: EstimateWorker, *, is_draining: bool = False) -> int:
    """Makes estimates until it is stopped; when draining, until none waits. Returns their number."""
    worker.report("waiting for estimates")
    # each an owner of its own: where a lease expired, only one of them holds what another one claimed anew
    each = [replace(worker, owner=f"{worker.owner}:{number}") for number in range(worker.n_processes)]
    with ThreadPoolExecutor(worker.n_processes, thread_name_prefix="estimates") as threads:
        counts = [threads.submit(_run_one_after_another, one, is_draining) for one in each]
        n_estimates = sum(count.result() for count in counts)
    if is_draining and not worker.stop.is_set():
        worker.report("no estimate waits")
    return n_estimates


def run_claimed_estimate(worker: EstimateWorker, estimate: Estimate) -> None:
    """Makes one estimate and records the result or the reason; a stopped one is given back."""
    started, name = time.monotonic(), _name(estimate)

    def renew(lease_s: float) -> bool:
        return renew_estimate_lease(worker.database, estimate.key, worker.owner, lease_s)

    with keep_lease(renew, name, worker.stop, worker.report) as lost_or_stopped:
        try:
            outcome = _make_outcome(worker, estimate, lost_or_stopped)
        except CommandStoppedError:
            worker.report(f"{name} {_give_back(worker, estimate)}")
            return
        is_recorded = _record_outcome(worker, estimate, outcome)
    words = f"{_describe_outcome(outcome)}, after {time.monotonic() - started:.0f} s"
    if is_recorded is None:
        words += "; this could not be recorded, and it will be made again"
    worker.report(f"{name} is another worker's now" if is_recorded is False else f"{name}: {words}")


def describe_hardware(hardware: HardwareEstimate) -> str:
    """One line of numbers."""
    return (
        f"{hardware.lut} LUT, {hardware.bram_18k} BRAM18, {hardware.dsp} DSP, "
        f"{hardware.throughput_fps:.0f} frames/s, {hardware.latency_us:.0f} us"
    )


def _run_one_after_another(worker: EstimateWorker, is_draining: bool) -> int:
    n_estimates = 0
    try:
        while not worker.stop.is_set():
            estimate = ask_database(worker, lambda: claim_estimate(worker.database, worker.owner, LEASE_S))
            if estimate is not None:
                run_claimed_estimate(worker, estimate)
                n_estimates += 1
            elif is_draining:
                break
            else:
                worker.stop.wait(QUEUE_POLL_S)
    except BaseException:  # a fault of ours: the other threads give back what they have, and the worker ends with it
        worker.stop.set()
        raise
    return n_estimates


def _make_outcome(worker: EstimateWorker, estimate: Estimate, stop: Event) -> HardwareEstimate | Refusal:
    """Raises CommandStoppedError on `stop`."""

    def tell(event: str) -> None:
        worker.report(f"{_name(estimate)} {event}")

    try:
        return make_estimate(worker.store, worker.pythons, estimate, Attempt(stop, tell))
    except CommandStoppedError:
        raise
    except Exception as error:  # a worker's outermost frame: whatever one estimate does, the next one is made
        message = describe_failure(worker.store.root, error, "the estimate is made when it is asked for again")
        return Refusal(message, isinstance(error, UnbuildableNetworkError))


def _record_outcome(worker: EstimateWorker, estimate: Estimate, outcome: HardwareEstimate | Refusal) -> bool | None:
    """False where another worker has the estimate; None where the database did not answer until the worker stopped."""
    owned = (worker.database, estimate.key, worker.owner)
    if isinstance(outcome, HardwareEstimate):
        return ask_database(worker, lambda: finish_estimate(*owned, outcome))
    return ask_database(worker, lambda: fail_estimate(*owned, outcome.message, is_unbuildable=outcome.is_unbuildable))


def _describe_outcome(outcome: HardwareEstimate | Refusal) -> str:
    if isinstance(outcome, HardwareEstimate):
        return describe_hardware(outcome)
    return f"{'cannot be built' if outcome.is_unbuildable else 'failed'}: {outcome.message}"


def _give_back(worker: EstimateWorker, estimate: Estimate) -> str:
    return give_back(lambda: release_estimate(worker.database, estimate.key, worker.owner))


def _name(estimate: Estimate) -> str:
    return f"estimate {estimate.key[:8]} (attempt {estimate.attempt}, {estimate.target.board})"


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m fpga.estimate_worker", description="Makes the hardware estimates that studies ask for."
    )
    add_worker_options(parser)
    parser.add_argument("--processes", type=parse_count, default=1, metavar="N", help="estimates at once (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
