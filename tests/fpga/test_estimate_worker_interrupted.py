"""The estimate worker with FINN makes each estimate once, whoever is killed, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import pytest
from sqlalchemy import update

from fpga.estimate_worker import EstimateWorker, run_queue
from fpga.toolchain.finn import Finn
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.estimates import request_estimate
from storage.records import EstimateState
from storage.tables import estimates
from tests.fpga.estimate_workers import (
    deep_architecture,
    find_exports,
    find_finn,
    has_finished_step,
    left_files,
    load,
    request,
    start_worker,
)
from tests.fpga.exported_networks import ZCU111
from tests.fpga.running_processes import is_running, wait_until


@pytest.mark.slow
def test_two_workers_with_two_processes_make_each_of_six_once(
    database: Database, store: ArtifactStore, finn: Finn
) -> None:
    keys = [request(database, channels) for channels in (2, 3, 4, 5, 6)]
    keys.append(request(database, 4, replace(ZCU111, target_fps=50_000)))

    workers = [start_worker(database, store, "--drain", "--processes", "2") for _ in range(2)]
    outputs = [process.communicate(timeout=400)[0] for process in workers]

    done = [load(database, key) for key in keys]
    assert {(estimate.state, estimate.attempt) for estimate in done} == {(EstimateState.ESTIMATED, 1)}
    made = [re.findall(r"estimate (\w{8}) .* after \d+ s", output) for output in outputs]
    assert sorted(made[0] + made[1]) == sorted(key[:8] for key in keys)
    assert min(len(numbers) for numbers in made) > 0
    assert left_files(store) == []


@pytest.mark.slow
def test_estimate_is_made_once_more_after_kill_9_of_its_worker(
    database: Database, store: ArtifactStore, estimate_worker: EstimateWorker
) -> None:
    key = request(database)
    process = start_worker(database, store)
    assert wait_until(lambda: has_finished_step(store), timeout_s=120)
    working = find_finn(store)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert len(working) >= 2
    assert wait_until(lambda: not any(map(is_running, working)), timeout_s=10)
    assert load(database, key).state is EstimateState.RUNNING
    with database.engine.begin() as connection:
        connection.execute(update(estimates).values(lease_until=0))
    assert run_queue(estimate_worker, is_draining=True) == 1
    done = load(database, key)
    assert (done.state, done.attempt) == (EstimateState.ESTIMATED, 2)
    assert left_files(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("find", [find_exports, find_finn])
def test_estimate_goes_on_after_kill_9_of_a_process_of_it(
    database: Database,
    store: ArtifactStore,
    estimate_worker: EstimateWorker,
    find: Callable[[ArtifactStore], list[int]],
    events: list[str],
) -> None:
    key = request(database)
    thread = Thread(target=run_queue, args=(estimate_worker,), kwargs={"is_draining": True})
    thread.start()
    working = wait_until(lambda: find(store), timeout_s=120)
    assert working

    for pid in working:
        with suppress(ProcessLookupError):  # of a call whose fork was killed just now
            os.kill(pid, signal.SIGKILL)
    thread.join(200)

    done = load(database, key)
    assert (done.state, done.attempt) == (EstimateState.ESTIMATED, 1)
    assert left_files(store) == []
    assert any("lost FINN to SIGKILL" in event for event in events) == (find is find_finn)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_gives_all_estimates_back_at_once(
    database: Database, store: ArtifactStore, number: signal.Signals, finn: Finn
) -> None:
    keys = [request_estimate(database, deep_architecture(channels), ZCU111, 300).key for channels in (3, 4)]
    process = start_worker(database, store, "--processes", "2")
    working = wait_until(lambda: (pids := find_finn(store))[3:] and pids, timeout_s=120)
    assert len(working) == 4  # two calls and their forks

    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 130
    assert output.count("given back") == 2
    assert not any(map(is_running, working))
    given_back = [load(database, key) for key in keys]
    assert {(e.state, e.owner, e.attempt) for e in given_back} == {(EstimateState.QUEUED, None, 0)}
    assert left_files(store) == []
