"""How the build worker treats its queue, FINN left out: a database that is away, builds whose files are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import pytest

from fpga.claim_lease import Attempt
from fpga.claimed_build import BuildResult, find_folder
from fpga.run import BuildWorker, run_queue
from fpga.toolchain.finn import Finn, FinnKind
from storage.artifacts import ArtifactStore
from storage.builds import load_build, queue_build
from storage.database import Database
from storage.hardware_reports import BuildReport
from storage.records import Build, BuildLevel, BuildRequest, BuildState
from tests.fpga.exported_networks import ZCU111
from tests.fpga.running_processes import wait_until

REPORT = BuildReport(
    lut=12_345,
    bram_18k=20,
    uram=0,
    dsp=3,
    throughput_fps=101_234.5,
    latency_us=17.25,
    bottleneck_layer="MVAU_hls_0",
    bottleneck_cycles=1975,
    n_frames_verified=100,
    n_classes_equal=100,
)


@dataclass
class StandInBuild:
    """A build of no time: it says that it started, and ends once it may."""

    started: Event
    may_end: Event
    error: Exception | None = None

    def make_result(
        self, store: ArtifactStore, finn: Finn, build: Build, levels: Sequence[BuildLevel], attempt: Attempt
    ) -> BuildResult:
        self.started.set()
        assert self.may_end.wait(30)
        if self.error is not None:
            raise self.error
        return BuildResult(REPORT, levels[-1], None)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandInBuild:
    stand_in = StandInBuild(Event(), Event())
    stand_in.may_end.set()
    monkeypatch.setattr("fpga.run.make_result", stand_in.make_result)
    monkeypatch.setattr("fpga.run.QUEUE_POLL_S", 0.05)
    monkeypatch.setattr("fpga.worker_process.QUEUE_POLL_S", 0.05)
    monkeypatch.setattr("fpga.worker_process.LONGEST_WAIT_S", 0.1)
    return stand_in


@pytest.fixture
def worker(database: Database, store: ArtifactStore, events: list[str], stand_in: StandInBuild) -> BuildWorker:
    return BuildWorker(
        database, store, Finn.in_folder(Path("no-finn"), FinnKind.MADE), "worker", Event(), events.append
    )


@contextmanager
def running(worker: BuildWorker, *, is_draining: bool = False) -> Iterator[Thread]:
    """The worker in a thread; stopped, and waited for, when the block ends."""
    thread = Thread(target=run_queue, args=(worker,), kwargs={"is_draining": is_draining})
    thread.start()
    try:
        yield thread
    finally:
        worker.stop.set()
        thread.join(30)


def take_away(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE design_builds RENAME TO away")


def bring_back(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO design_builds")


def has_event(events: list[str], text: str) -> bool:
    return wait_until(lambda: any(text in event for event in events), timeout_s=20)


def queue(database: Database, store: ArtifactStore, trial_number: int = 0, *, has_files: bool = True) -> Build:
    folder = f"study/trials/{trial_number:05d}"
    if has_files:
        write_files(store, folder)
    return queue_build(
        database,
        BuildRequest(
            study_name="study",
            trial_number=trial_number,
            stage=0,
            model=f"{folder}/model.onnx",
            reference_vectors=f"{folder}/proof.npz",
            target=ZCU111,
            timeout_s=600,
            is_below_threshold=False,
            test_accuracy=0.5,
        ),
    )


def write_files(store: ArtifactStore, folder: str) -> None:
    for name in ("model.onnx", "proof.npz"):
        store.write_bytes(f"{folder}/{name}", b"")


def test_database_away_during_a_claim_is_asked_again(
    worker: BuildWorker, database: Database, store: ArtifactStore, events: list[str]
) -> None:
    build = queue(database, store)
    take_away(database)

    with running(worker, is_draining=True) as thread:
        assert has_event(events, "does not answer: no such table: design_builds; it is asked again")
        bring_back(database)
        thread.join(30)

    assert load_build(database, build.build_id).state is BuildState.SUCCEEDED
    assert sum("does not answer" in event for event in events) == 1
    assert "the database answers again" in events


@pytest.mark.parametrize(
    ("error", "state", "report"),
    [(None, BuildState.SUCCEEDED, REPORT), (ValueError("no"), BuildState.FAILED, None)],
)
def test_result_of_a_build_outlives_a_database_that_is_away_at_its_end(
    worker: BuildWorker,
    database: Database,
    store: ArtifactStore,
    events: list[str],
    stand_in: StandInBuild,
    error: Exception | None,
    state: BuildState,
    report: BuildReport | None,
) -> None:
    build = queue(database, store)
    stand_in.may_end.clear()
    stand_in.error = error

    with running(worker, is_draining=True) as thread:
        assert stand_in.started.wait(20)
        take_away(database)
        stand_in.may_end.set()
        assert has_event(events, "does not answer")
        bring_back(database)
        thread.join(30)

    done = load_build(database, build.build_id)
    assert (done.state, done.report, done.attempt) == (state, report, 1)


def test_worker_stopped_while_the_database_is_away_says_what_is_lost(
    worker: BuildWorker, database: Database, store: ArtifactStore, events: list[str], stand_in: StandInBuild
) -> None:
    queue(database, store)
    stand_in.may_end.clear()

    with running(worker) as thread:
        assert stand_in.started.wait(20)
        take_away(database)
        stand_in.may_end.set()
        assert has_event(events, "does not answer")
        worker.stop.set()
        thread.join(10)
        assert not thread.is_alive()

    assert "12345 LUT" in events[-1]
    assert events[-1].endswith("; this could not be recorded, and the build will be run again")


def test_stopped_worker_does_not_call_the_queue_empty(
    worker: BuildWorker, database: Database, store: ArtifactStore, events: list[str]
) -> None:
    queue(database, store)
    take_away(database)

    with running(worker, is_draining=True):
        assert has_event(events, "does not answer")

    assert len(events) == 1


def test_build_whose_files_are_elsewhere_is_left_to_other_workers(
    worker: BuildWorker, database: Database, store: ArtifactStore, events: list[str]
) -> None:
    elsewhere = queue(database, store, 0, has_files=False)
    here = queue(database, store, 1)

    assert run_queue(worker, is_draining=True) == 1

    assert load_build(database, elsewhere.build_id) == elsewhere
    assert load_build(database, here.build_id).state is BuildState.SUCCEEDED
    model = store.path(elsewhere.model)
    assert events[0] == f"build 1 (study study, trial 0 stage 0) is left to other workers: {model} does not exist here"
    assert events[-1] == "the build queue is empty but for 1 of other workers, whose files are not here"


def test_build_left_to_others_is_told_once_and_taken_when_its_files_appear(
    worker: BuildWorker,
    database: Database,
    store: ArtifactStore,
    events: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fpga.run.REFUSAL_S", 0.1)
    build = queue(database, store, has_files=False)

    with running(worker):
        assert has_event(events, "is left to other workers")
        time.sleep(0.5)  # it is looked at a few times more
        write_files(store, "study/trials/00000")
        assert has_event(events, "succeeded")

    assert sum("is left to other workers" in event for event in events) == 1
    assert load_build(database, build.build_id).attempt == 1


def test_worker_with_more_tools_takes_up_builds_that_ended_below_its_levels(
    worker: BuildWorker, database: Database, store: ArtifactStore, stand_in: StandInBuild
) -> None:
    build = queue(database, store)
    assert run_queue(worker, is_draining=True) == 1
    ended = load_build(database, build.build_id)
    assert (ended.state, ended.level, ended.next_level) == (
        BuildState.SUCCEEDED,
        BuildLevel.CODEGEN,
        BuildLevel.STITCHED_IP,
    )
    later = (BuildLevel.STITCHED_IP, BuildLevel.OUT_OF_CONTEXT_SYNTH, BuildLevel.BITFILE)

    assert run_queue(replace(worker, owner="with tools", levels=later), is_draining=True) == 1

    done = load_build(database, build.build_id)
    assert (done.state, done.level, done.next_level) == (BuildState.SUCCEEDED, BuildLevel.BITFILE, None)
    assert run_queue(replace(worker, levels=tuple(BuildLevel)), is_draining=True) == 0


def test_running_build_shows_the_end_of_its_log(
    database: Database,
    store: ArtifactStore,
    worker: BuildWorker,
    stand_in: StandInBuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fpga.claim_lease.RENEWAL_S", 0.1)
    stand_in.may_end.clear()
    build = queue(database, store)
    log = find_folder(store, worker.finn, build) / "finn.log"
    log.parent.mkdir(parents=True)
    log.write_text("Running step: step_tidy_up\n")

    with running(worker, is_draining=True):
        shown = wait_until(lambda: load_build(database, build.build_id).log_tail is not None, timeout_s=20)
        tail = load_build(database, build.build_id).log_tail
        stand_in.may_end.set()

    assert shown
    assert tail == "Running step: step_tidy_up"
