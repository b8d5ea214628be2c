"""The build worker with FINN: each build gets a report or a reason, and is built once, whoever is killed meanwhile."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from sqlalchemy import update

from fpga.run import BuildWorker, main, run_queue
from fpga.toolchain.finn import Finn
from storage.artifacts import ArtifactStore
from storage.builds import load_build, load_builds
from storage.database import Database
from storage.leases import make_lease_owner
from storage.records import Build, BuildLevel, BuildState
from storage.tables import builds
from tests.fpga.exported_networks import ZCU111
from tests.fpga.running_processes import find_processes, is_running, wait_until

Queue = Callable[..., Build]

DRIVER = """
import sys, time
from pathlib import Path
from search.local_services import run_build_worker
url, artifacts, log = sys.argv[1:]
with run_build_worker(url, Path(artifacts), Path(log)) as worker:
    while worker.exit_code is None:
        time.sleep(0.2)
"""
"""What search.run does around a build, and nothing else."""


def start_worker(database: Database, store: ArtifactStore, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpga.run", "--database", database.url, "--artifacts", str(store.root), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def find_finn(store: ArtifactStore) -> list[int]:
    requests = store.root.glob("builds/*/request.json")
    return [pid for request in requests for pid in find_processes(str(request))]


def has_finished_step(store: ArtifactStore) -> bool:
    """True within a second of the first: all steps of a tiny network take a few."""
    return any(store.root.glob("builds/*/output/intermediate_models/step_*.onnx"))


def count_steps(store: ArtifactStore) -> list[Counter[str]]:
    """How often each step was begun, per folder, from FINN's logs."""
    logs = [path.read_text() for path in sorted(store.root.glob("builds/*/finn.log"))]
    return [Counter(re.findall(r"Running step: (\w+)", log)) for log in logs]


def is_each_finished_step_run_once(store: ArtifactStore) -> bool:
    """Only the step in work when something was killed may have been begun twice."""
    (steps,) = count_steps(store)
    return len(steps) > 15 and sorted(steps.values())[-2:] in ([1, 1], [1, 2])


def end_lease(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(update(builds).values(lease_until=0))


@pytest.mark.slow
def test_queued_build_ends_with_a_report_and_says_where_it_stopped(
    worker: BuildWorker, queue_tiny: Queue, store: ArtifactStore, events: list[str]
) -> None:
    build = queue_tiny(store)

    assert run_queue(worker, is_draining=True) == 1

    done = load_build(worker.database, build.build_id)
    assert (done.state, done.level, done.next_level) == (
        BuildState.SUCCEEDED,
        BuildLevel.CODEGEN,
        BuildLevel.STITCHED_IP,
    )
    assert done.level_note is not None
    assert done.level_note.startswith("stitched_ip ")
    assert done.report is not None
    assert done.report.lut > 100
    assert (done.report.n_frames_verified, done.report.n_classes_equal) == (8, 8)
    assert done.folder is not None
    assert (store.path(done.folder) / "finn.log").stat().st_size > 1_000
    assert len(events) == 3
    assert "build 1 (study study, trial 0) started" in events[0]
    assert "succeeded after" in events[1]
    assert events[2] == "the build queue is empty"


@pytest.mark.slow
def test_same_network_for_the_same_target_is_built_once(
    worker: BuildWorker, queue_tiny: Queue, store: ArtifactStore, database: Database, events: list[str]
) -> None:
    queue_tiny(store)
    queue_tiny(store, study_name="another", trial_number=7)
    queue_tiny(store, target=replace(ZCU111, target_fps=50_000))

    assert run_queue(worker, is_draining=True) == 3

    first, again, other_target = load_builds(database)
    assert {build.state for build in (first, again, other_target)} == {BuildState.SUCCEEDED}
    assert (again.report, again.folder) == (first.report, first.folder)
    assert other_target.folder != first.folder
    assert [event for event in events if "was built before, and is not built again" in event] == [
        f"build 2 (study another, trial 7) was built before, and is not built again: {store.path(first.folder or '')}"
    ]
    assert [max(steps.values()) for steps in count_steps(store)] == [1, 1]


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


@pytest.mark.slow
def test_worker_goes_on_after_builds_that_failed_each_with_one_line(
    worker: BuildWorker, queue_tiny: Queue, store: ArtifactStore, events: list[str]
) -> None:
    broken = queue_tiny(store, trial_number=1)
    store.write_bytes(broken.model, b"no protobuf")
    unknown = queue_tiny(store, trial_number=2, target=replace(ZCU111, board="ZCU999"))
    slow = queue_tiny(store, 1, trial_number=3, timeout_s=1)
    unreachable = queue_tiny(store, trial_number=4, target=replace(ZCU111, target_fps=100_000_000))
    good = queue_tiny(store, trial_number=5)

    assert run_queue(worker, is_draining=True) == 5

    asked = (broken, unknown, slow, unreachable)
    ended = [load_build(worker.database, build.build_id) for build in asked]
    assert {build.state for build in ended} == {BuildState.FAILED}
    messages = [build.message or "" for build in ended]
    assert "which is no readable ONNX file" in messages[0]
    assert "board is ZCU999; expected one of" in messages[1]
    assert "timeout_s is 1; the build took longer and was killed in its start" in messages[2]
    assert re.search(r"^target_fps is 100000000; FINN's folding reaches \d+ frames/s at 5 ns, limited by ", messages[3])
    assert not any("\n" in message for message in messages)
    assert all(build.folder and store.path(build.folder).is_dir() for build in ended)
    assert "Running step: step_hw_codegen" in (ended[3].log_tail or "")
    assert load_build(worker.database, good.build_id).state is BuildState.SUCCEEDED


@pytest.mark.slow
def test_tools_that_do_not_work_leave_the_build_succeeded_where_it_was(
    worker: BuildWorker,
    queue_tiny: Queue,
    store: ArtifactStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    events: list[str],
) -> None:
    """Programs of these names that fail: as far as the later levels can be run without Vivado."""
    programs = tmp_path / "Vivado" / "2022.2" / "bin"
    programs.mkdir(parents=True)
    for name in ("vivado", "vitis_hls"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    build = queue_tiny(store)

    assert run_queue(replace(worker, levels=tuple(BuildLevel)), is_draining=True) == 2

    done = load_build(worker.database, build.build_id)
    assert (done.state, done.level, done.next_level) == (BuildState.SUCCEEDED, BuildLevel.CODEGEN, None)
    assert re.match("stitched_ip failed: FINNUserError: .*XSI", done.level_note or "")
    assert any("goes on behind" in event and "finished steps, which are not repeated" in event for event in events)
    assert count_steps(store)[0]["step_hw_codegen"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 250 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system to fill")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250k", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("this machine mounts no tmpfs, which the test would fill")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_full_disk_fails_a_build_in_one_line_and_it_goes_on_when_there_is_space(
    database: Database, queue_tiny: Queue, small_disk: Path, finn: Finn, events: list[str]
) -> None:
    store = ArtifactStore(small_disk)
    worker = BuildWorker(database, store, finn, make_lease_owner(), Event(), events.append)
    build = queue_tiny(store)

    assert run_queue(worker, is_draining=True) == 1

    failed = load_build(database, build.build_id)
    assert failed.state is BuildState.FAILED
    assert re.fullmatch(
        rf"the disk of {small_disk} is full, 0\.\d MB free; the build goes on where it stopped when queued anew",
        failed.message or "",
    )
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    again = queue_tiny(store)
    run_queue(worker, is_draining=True)
    assert load_build(database, again.build_id).state is BuildState.SUCCEEDED
    assert any("finished steps, which are not repeated" in event for event in events)


@pytest.mark.slow
def test_build_that_computes_other_scores_than_were_recorded_fails(
    worker: BuildWorker, queue_network: Queue, store: ArtifactStore, database: Database
) -> None:
    build = queue_network("residual", trial_number=1)
    with np.load(store.path(build.reference_vectors)) as vectors:
        swapped = io.BytesIO()
        np.savez(swapped, frames=vectors["frames"], logits=np.roll(vectors["logits"], 1, axis=1))
    store.write_bytes(build.reference_vectors, swapped.getvalue())

    run_queue(worker, max_builds=1)

    failed = load_build(database, build.build_id)
    assert failed.state is BuildState.FAILED
    assert "the QONNX file gives other integer scores than the trained network on" in (failed.message or "")


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


@pytest.mark.parametrize("option", ["--storage", "--database"])
def test_database_that_cannot_be_opened_is_one_clear_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, "mysql://host/db"]) == 1

    error = capsys.readouterr().err
    assert "expected sqlite:///FILE or postgresql" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("levels", ["codegen,gds2", ""])
def test_unknown_level_is_one_clear_line(levels: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--levels", levels]) == 1

    error = capsys.readouterr().err
    assert "expected some of estimate, codegen, stitched_ip, out_of_context_synth, bitfile" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_draining_worker_ends_when_nothing_is_queued(database: Database, store: ArtifactStore, finn: Finn) -> None:
    process = start_worker(database, store, "--drain")

    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "the build queue is empty" in output
