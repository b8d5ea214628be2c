"""The build worker with FINN records why a build failed, in one line, and runs the next one."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from fpga.run import BuildWorker, run_queue
from fpga.toolchain.finn import Finn
from storage.artifacts import ArtifactStore
from storage.builds import load_build
from storage.database import Database
from storage.leases import make_lease_owner
from storage.records import Build, BuildLevel, BuildState
from tests.fpga.build_workers import (
    count_steps,
)
from tests.fpga.exported_networks import ZCU111

Queue = Callable[..., Build]


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
