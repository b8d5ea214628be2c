"""The build worker with FINN goes on where it was, whoever is killed, and leaves no process behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fpga.run import BuildWorker, run_queue
from storage.artifacts import ArtifactStore
from storage.builds import load_build
from storage.database import Database
from storage.records import Build, BuildState
from tests.fpga.build_workers import (
    end_lease,
    find_finn,
    has_finished_step,
    is_each_finished_step_run_once,
    start_worker,
)
from tests.fpga.running_processes import find_processes, is_running, wait_until

Queue = Callable[..., Build]


DRIVER = """
import sys, time
from pathlib import Path
from search.processes.local_services import run_build_worker
url, artifacts, log = sys.argv[1:]
with run_build_worker(url, Path(artifacts), Path(log)) as worker:
    while worker.exit_code is None:
        time.sleep(0.2)
"""
"""What search.run does around a build, and nothing else."""


@pytest.mark.slow
def test_build_goes_on_after_kill_9_of_finn(database: Database, store: ArtifactStore, queue_tiny: Queue) -> None:
    build = queue_tiny(store)
    process = start_worker(database, store, "--drain")
    assert wait_until(lambda: has_finished_step(store), timeout_s=120)

    for pid in find_finn(store):
        os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=200)

    done = load_build(database, build.build_id)
    assert (done.state, done.attempt) == (BuildState.SUCCEEDED, 1)
    assert "lost FINN to SIGKILL in step_" in output
    assert re.search(r"goes on behind \d+ finished steps, which are not repeated", output)
    assert is_each_finished_step_run_once(store)


@pytest.mark.slow
def test_build_goes_on_after_kill_9_of_its_worker(
    database: Database, store: ArtifactStore, queue_tiny: Queue, worker: BuildWorker, events: list[str]
) -> None:
    build = queue_tiny(store)
    process = start_worker(database, store)
    assert wait_until(lambda: has_finished_step(store), timeout_s=120)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert wait_until(lambda: not find_finn(store), timeout_s=60)
    assert load_build(database, build.build_id).state is BuildState.RUNNING
    end_lease(database)
    assert run_queue(worker, is_draining=True) == 1
    done = load_build(database, build.build_id)
    assert (done.state, done.attempt) == (BuildState.SUCCEEDED, 2)
    assert any("finished steps, which are not repeated" in event for event in events)
    assert is_each_finished_step_run_once(store)


@pytest.mark.slow
def test_build_goes_on_after_kill_9_of_the_driver(
    database: Database, store: ArtifactStore, queue_tiny: Queue, tmp_path: Path
) -> None:
    build = queue_tiny(store)
    command = [sys.executable, "-c", DRIVER, database.url, str(store.root), str(tmp_path / "worker.log")]
    driver = subprocess.Popen(command)
    assert wait_until(lambda: has_finished_step(store), timeout_s=120)

    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()

    assert wait_until(lambda: load_build(database, build.build_id).state is BuildState.QUEUED, timeout_s=60)
    driver = subprocess.Popen(command)
    try:
        assert wait_until(lambda: load_build(database, build.build_id).state is BuildState.SUCCEEDED, timeout_s=200)
    finally:
        driver.kill()
        driver.wait()
    assert wait_until(lambda: not find_processes(str(store.root)), timeout_s=60)
    assert load_build(database, build.build_id).attempt == 1
    assert "finished steps, which are not repeated" in (tmp_path / "worker.log").read_text()
    assert is_each_finished_step_run_once(store)


@pytest.mark.slow
def test_sigterm_gives_the_build_back(database: Database, store: ArtifactStore, queue_tiny: Queue) -> None:
    build = queue_tiny(store)
    process = start_worker(database, store)
    assert wait_until(lambda: find_finn(store), timeout_s=120)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "given back" in output
    assert find_finn(store) == []
    given_back = load_build(database, build.build_id)
    assert (given_back.state, given_back.owner, given_back.attempt) == (BuildState.QUEUED, None, 0)


@pytest.mark.slow
def test_killed_worker_takes_finn_with_it(database: Database, store: ArtifactStore, queue_tiny: Queue) -> None:
    queue_tiny(store)
    process = start_worker(database, store)
    assert wait_until(lambda: find_finn(store), timeout_s=120)
    (finn,) = find_finn(store)
    time.sleep(3)  # its watcher runs once FINN is loaded

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert wait_until(lambda: not is_running(finn), timeout_s=60)
