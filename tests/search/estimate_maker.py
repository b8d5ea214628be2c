"""Makers of hardware estimates by formula, on the real tables: what stands in for FINN in tests of the search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spaces.architecture import ArchitectureConfig
from storage.database import Database
from storage.estimates import claim_estimate, fail_estimate, finish_estimate
from storage.hardware_reports import HardwareEstimate, Resources
from storage.records import Estimate
from workers.inference_cost import count_cost

BOARD = Resources(lut=400_000, bram_18k=2000, uram=80, dsp=4000)

End = Callable[[Database, Estimate], None]


def estimate_by_formula(architecture: ArchitectureConfig) -> HardwareEstimate:
    """The larger the network, the more of everything it takes."""
    n = count_cost(architecture, {}).parameters
    return HardwareEstimate(
        lut=100 * n,
        bram_18k=n // 100,
        uram=0,
        dsp=n // 50,
        throughput_fps=2e8 / n,
        latency_us=n / 10,
        bottleneck_layer="MVAU_rtl_0",
        available=BOARD,
    )


def finish(database: Database, estimate: Estimate) -> None:
    """Ends an estimate as FINN would."""
    architecture = ArchitectureConfig.model_validate_json(estimate.architecture_json)
    assert finish_estimate(database, estimate.key, "maker", estimate_by_formula(architecture))


def refuse(database: Database, estimate: Estimate) -> None:
    """FINN cannot build this network."""
    assert fail_estimate(database, estimate.key, "maker", "step_streamline: unmapped layers", is_unbuildable=True)


def fail(database: Database, estimate: Estimate) -> None:
    """The estimate took too long."""
    assert fail_estimate(database, estimate.key, "maker", "took longer than 60 s", is_unbuildable=False)


def make_next(database: Database, end: End = finish) -> Estimate | None:
    """Makes the estimate that waits longest; None where none waits."""
    estimate = claim_estimate(database, "maker", 60)
    if estimate is not None:
        end(database, estimate)
    return estimate


def make_all(database: Database, end: End = finish) -> int:
    """Makes all that wait, and returns how many."""
    return sum(1 for _ in iter(lambda: make_next(database, end), None))


@contextmanager
def estimate_maker(database: Database, delay_s: float = 0.0, end: End = finish) -> Iterator[list[str]]:
    """Makes estimates in a thread for the length of the block; the keys of those it made."""
    made: list[str] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.01):
            estimate = claim_estimate(database, "maker", 60)
            if estimate is not None:
                stop.wait(delay_s)
                end(database, estimate)
                made.append(estimate.key)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()
