import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from search.hardware import buildable, latest_builds, list_builds_here, promote_winners, wait_for_builds
from search.loop import run_search
from search.processes.interrupts import Interrupts, SearchInterrupted
from search.processes.local_services import Service
from search.reports.study_report import load_study_report
from search.stored_point import StoredPoint
from storage.artifacts import ArtifactStore
from storage.builds import claim_build, fail_build, load_builds
from storage.database import Database
from storage.dataset.radioml import RadioMLFile
from storage.records import Build, BuildState
from storage.signals.radioml_classes import CLASS_NAMES
from tests.search.search_study import complete, make_search, queue_small_build, small_config

FILE = RadioMLFile(Path("data.hdf5"), CLASS_NAMES, tuple(range(-20, 32, 2)), 8, 1024, 4992, None)


def artifacts_of(folder: Path) -> ArtifactStore:
    """Artifacts in which the files of `queue_small_build` lie."""
    store = ArtifactStore(folder / "artifacts")
    for name in ("model.onnx", "proof.npz"):
        store.write_text(name, "")
    return store


def waiting(database: Database, artifacts: ArtifactStore) -> Callable[[], list[Build]]:
    return lambda: list_builds_here(database, artifacts, "small")


def end_build(database: Database) -> None:
    build = claim_build(database, "me", 60)
    assert build is not None
    assert fail_build(database, build.build_id, "me", "no luck")


def sleeper(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A worker that does nothing."""
    (folder / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.chdir(folder)
    return Service("build worker", ["sleeper"], folder / "worker.log")


def test_search_waits_until_its_builds_have_ended(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_small_build(sqlite)
    worker = sleeper(tmp_path, monkeypatch)
    ticks: list[str] = []

    def end_at_second_tick(activity: str) -> None:
        ticks.append(activity)
        if len(ticks) == 2:
            end_build(sqlite)

    assert wait_for_builds(waiting(sqlite, artifacts_of(tmp_path)), worker, Interrupts(), end_at_second_tick) is None
    worker.stop()
    assert len(ticks) == 2
    assert load_builds(sqlite, "small")[0].state is BuildState.FAILED


def test_builds_whose_files_are_elsewhere_are_not_waited_for(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = queue_small_build(sqlite)
    worker, artifacts = sleeper(tmp_path, monkeypatch), artifacts_of(tmp_path)
    assert buildable([build], artifacts) == [build]
    artifacts.path("proof.npz").unlink()
    assert buildable([build], artifacts) == []
    assert wait_for_builds(waiting(sqlite, artifacts), worker, Interrupts(), lambda _: None) is None
    worker.stop()


def test_build_worker_that_ends_early_is_told_with_its_log(sqlite: Database, tmp_path: Path) -> None:
    queue_small_build(sqlite)
    worker = Service("build worker", ["no_such_module"], tmp_path / "worker.log")
    problem = wait_for_builds(waiting(sqlite, artifacts_of(tmp_path)), worker, Interrupts(), lambda _: None)
    assert problem == f"the build worker ended with exit code 1 before the builds; see {tmp_path}/worker.log"


def test_waiting_is_left_at_ctrl_c(sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_small_build(sqlite)
    worker, interrupts = sleeper(tmp_path, monkeypatch), Interrupts()
    with interrupts.watch(), pytest.raises(SearchInterrupted):
        wait_for_builds(
            waiting(sqlite, artifacts_of(tmp_path)), worker, interrupts, lambda _: os.kill(os.getpid(), signal.SIGINT)
        )
    worker.stop()


def test_build_that_was_queued_anew_counts_by_its_new_state(sqlite: Database) -> None:
    queue_small_build(sqlite)
    end_build(sqlite)
    queue_small_build(sqlite)
    assert [build.state for build in latest_builds(load_builds(sqlite, "small"))] == [BuildState.QUEUED]


def test_winner_that_cannot_be_promoted_is_told_and_nothing_is_queued(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    notices: list[str] = []
    winner, artifacts = load_study_report(sqlite, "small").front[0], ArtifactStore(tmp_path / "artifacts")
    stored = StoredPoint(sqlite, artifacts, small_config(), FILE, winner)
    assert not promote_winners([stored], notices.append, notices.append)
    assert "is not promoted" in notices[-1]
    assert "is missing; expected the artifacts folder" in notices[-1]
    assert load_builds(sqlite, "small") == []
