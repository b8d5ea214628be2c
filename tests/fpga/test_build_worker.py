"""The build worker with FINN: each build gets a report or a reason, and is built once, whoever is killed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fpga.run import BuildWorker, main, run_queue
from fpga.toolchain.finn import Finn
from storage.artifacts import ArtifactStore
from storage.builds import load_build, load_builds
from storage.database import Database
from storage.records import Build, BuildLevel, BuildState
from tests.fpga.build_workers import (
    count_steps,
    start_worker,
)
from tests.fpga.exported_networks import ZCU111

Queue = Callable[..., Build]


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
    assert "build 1 (study study, trial 0 stage 0) started" in events[0]
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
        "build 2 (study another, trial 7 stage 0) was built before, and is not built again: "
        f"{store.path(first.folder or '')}"
    ]
    assert [max(steps.values()) for steps in count_steps(store)] == [1, 1]


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
