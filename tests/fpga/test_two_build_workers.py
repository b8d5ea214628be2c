"""Two build workers with FINN share a queue: each build is run once, and each network built once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from fpga.toolchain.finn import Finn
from storage.artifacts import ArtifactStore
from storage.builds import load_builds
from storage.database import Database
from storage.records import Build, BuildState
from tests.fpga.build_workers import (
    count_steps,
    start_worker,
)
from tests.fpga.exported_networks import ZCU111

Queue = Callable[..., Build]


@pytest.mark.slow
def test_two_workers_build_each_of_twenty_once(
    database: Database, store: ArtifactStore, queue_tiny: Queue, finn: Finn
) -> None:
    """Three networks, asked for by sixteen trials, and four builds that fail."""
    for number in range(16):
        queue_tiny(store, number % 3, study_name=f"study{number % 2}", trial_number=number)
    for number in range(16, 18):
        queue_tiny(store, 0, trial_number=number, target=replace(ZCU111, board=f"ZCU{number}"))
    for number in range(18, 20):
        store.write_bytes(queue_tiny(store, 0, trial_number=number).model, f"no network {number}".encode())

    workers = [start_worker(database, store, "--drain") for _ in range(2)]
    outputs = [process.communicate(timeout=500)[0] for process in workers]

    ended = load_builds(database)
    assert [build.state for build in ended] == [BuildState.SUCCEEDED] * 16 + [BuildState.FAILED] * 4
    assert {build.attempt for build in ended} == {1}
    started = [re.findall(r"build (\d+) \(.*\) started", output) for output in outputs]
    assert sorted(map(int, started[0] + started[1])) == list(range(1, 21))
    assert min(len(numbers) for numbers in started) > 0
    steps = [steps for steps in count_steps(store) if steps]
    assert len(steps) == 3
    assert {count for counter in steps for count in counter.values()} == {1}
    assert sum(output.count("was built before, and is not built again") for output in outputs) == 13
