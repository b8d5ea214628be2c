"""The build worker: each build gets a report or a reason, and none is lost when the worker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from fpga.run import BuildWorker, main, run_queue
from storage.artifacts import ArtifactStore
from storage.builds import load_build
from storage.database import Database
from storage.records import Build, BuildState
from storage.tables import builds
from tests.fpga.exported_networks import N_PROOF_FRAMES, ZCU111
from tests.fpga.running_processes import find_processes, wait_until

Queue = Callable[..., Build]


def start_worker(database: Database, store: ArtifactStore, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpga.run", "--database", database.url, "--artifacts", str(store.root), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def find_finn(store: ArtifactStore, build: Build, attempt: int = 1) -> list[int]:
    request = store.path(f"study/builds/{build.build_id:05d}-attempt-{attempt}/request.json")
    return find_processes(str(request))


@pytest.mark.slow
def test_queued_build_ends_with_a_report(worker: BuildWorker, queue_network: Queue, events: list[str]) -> None:
    build = queue_network("residual")

    assert run_queue(worker, is_draining=True) == 1

    done = load_build(worker.database, build.build_id)
    assert done.state is BuildState.SUCCEEDED
    assert done.report is not None
    assert done.report.lut > 1_000
    assert (done.report.n_frames_verified, done.report.n_classes_equal) == (N_PROOF_FRAMES, N_PROOF_FRAMES)
    assert len(events) == 3
    assert "build 1 (study study, trial 0) started" in events[0]
    assert "succeeded after" in events[1]
    assert events[2] == "the build queue is empty"


@pytest.mark.slow
def test_worker_goes_on_after_a_build_that_failed(
    worker: BuildWorker, queue_network: Queue, store: ArtifactStore, events: list[str]
) -> None:
    broken = queue_network("residual", trial_number=1)
    store.write_bytes(broken.model, b"no protobuf")
    unknown = queue_network("residual", trial_number=2, target=replace(ZCU111, board="ZCU999"))
    slow = queue_network("residual", trial_number=3, timeout_s=1)
    good = queue_network("pools_between_residuals", trial_number=4)

    assert run_queue(worker, is_draining=True) == 4

    ended = {build.trial_number: load_build(worker.database, build.build_id) for build in (broken, unknown, slow)}
    assert {build.state for build in ended.values()} == {BuildState.FAILED}
    assert "which is no readable ONNX file" in (ended[1].message or "")
    assert "board is ZCU999; expected one of" in (ended[2].message or "")
    assert "timeout_s is 1" in (ended[3].message or "")
    assert not any("\n" in (build.message or "") for build in ended.values())
    assert load_build(worker.database, good.build_id).state is BuildState.SUCCEEDED


@pytest.mark.slow
def test_build_with_other_classes_fails(
    worker: BuildWorker, queue_network: Queue, store: ArtifactStore, database: Database
) -> None:
    build = queue_network("residual", trial_number=1)
    other = queue_network("pools_between_residuals", trial_number=2)
    store.write_bytes(build.proof, store.path(other.proof).read_bytes())

    run_queue(worker, max_builds=1)

    failed = load_build(database, build.build_id)
    assert failed.state is BuildState.FAILED
    assert "gives another class than the trained network on" in (failed.message or "")


@pytest.mark.slow
def test_sigterm_gives_the_build_back(database: Database, store: ArtifactStore, queue_network: Queue) -> None:
    build = queue_network("residual")
    process = start_worker(database, store)
    assert wait_until(lambda: find_finn(store, build), timeout_s=120)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "given back" in output
    assert find_finn(store, build) == []
    given_back = load_build(database, build.build_id)
    assert (given_back.state, given_back.owner, given_back.attempt) == (BuildState.QUEUED, None, 0)


@pytest.mark.slow
def test_killed_worker_takes_finn_with_it_and_its_build_is_built_by_the_next(
    database: Database, store: ArtifactStore, queue_network: Queue, worker: BuildWorker
) -> None:
    build = queue_network("residual")
    process = start_worker(database, store)
    assert wait_until(lambda: find_finn(store, build), timeout_s=120)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert wait_until(lambda: not find_finn(store, build), timeout_s=60)
    assert load_build(database, build.build_id).state is BuildState.RUNNING
    with database.engine.begin() as connection:
        connection.execute(update(builds).values(lease_until=0))
    run_queue(worker, is_draining=True)
    done = load_build(database, build.build_id)
    assert (done.state, done.attempt) == (BuildState.SUCCEEDED, 2)


@pytest.mark.parametrize("option", ["--storage", "--database"])
def test_database_that_cannot_be_opened_is_one_clear_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, "mysql://host/db"]) == 1

    error = capsys.readouterr().err
    assert "expected sqlite:///FILE or postgresql" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_draining_worker_ends_when_nothing_is_queued(
    database: Database, store: ArtifactStore, finn_python: Path
) -> None:
    process = start_worker(database, store, "--drain")

    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "the build queue is empty" in output
