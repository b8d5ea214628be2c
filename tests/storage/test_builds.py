"""The build queue: one build once, one worker at a time, nothing lost when a worker dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from storage.builds import (
    BuildError,
    claim_build,
    fail_build,
    finish_build,
    load_build,
    load_builds,
    queue_build,
    record_test_accuracy,
    release_build,
    renew_build_lease,
)
from storage.database import Database, DatabaseError, open_database
from storage.hardware_reports import BuildReport
from storage.leases import make_lease_owner
from storage.records import Build, BuildLevel, BuildRequest, BuildState, BuildTarget, FinishedBuild

TARGET = BuildTarget(board="ZCU111", clk_period_ns=5.0, target_fps=100_000)

REPORT = BuildReport(
    lut=12_345,
    bram_18k=20,
    uram=1,
    dsp=3,
    throughput_fps=101_234.5,
    latency_us=17.25,
    bottleneck_layer="MVAU_hls_0",
    bottleneck_cycles=1975,
    n_frames_verified=100,
    n_classes_equal=99,
)


def test_queued_build_comes_back_whole(database: Database) -> None:
    before = datetime.now(UTC)

    build = _queue(database, trial_number=7, stage=2)

    assert replace(build, queued_at=before) == Build(
        build_id=1,
        study_name="dsc4",
        trial_number=7,
        stage=2,
        model="dsc4/trials/00007/model.onnx",
        reference_vectors="dsc4/trials/00007/proof.npz",
        target=TARGET,
        timeout_s=1800,
        is_below_threshold=True,
        test_accuracy=0.5625,
        state=BuildState.QUEUED,
        attempt=0,
        owner=None,
        message=None,
        report=None,
        queued_at=before,
        finished_at=None,
    )
    assert before <= build.queued_at <= datetime.now(UTC)
    assert load_build(database, build.build_id) == build


def test_claimed_build_has_the_same_types_as_the_loaded_one(database: Database) -> None:
    _queue(database)

    build = claim_build(database, "worker", 60)

    assert build is not None
    assert repr(build) == repr(load_build(database, build.build_id))
    assert (build.state, build.owner, build.attempt) == (BuildState.RUNNING, "worker", 1)


def test_same_network_and_target_is_queued_once(database: Database) -> None:
    queued = _queue(database)
    assert _queue(database) == queued

    running = claim_build(database, "worker", 60)
    assert _queue(database) == running

    assert finish_build(database, queued.build_id, "worker", FinishedBuild(REPORT, BuildLevel.CODEGEN))
    assert _queue(database).state == BuildState.SUCCEEDED
    assert len(load_builds(database)) == 1


def test_other_trial_stage_study_or_target_is_another_build(database: Database) -> None:
    _queue(database)
    _queue(database, trial_number=1)
    _queue(database, stage=1)
    _queue(database, study_name="vgg10")
    _queue(database, target=replace(TARGET, board="Pynq-Z1"))
    _queue(database, target=replace(TARGET, clk_period_ns=10.0))
    _queue(database, target=replace(TARGET, target_fps=1))
    _queue(database, target=replace(TARGET, output="scores"))

    assert [build.build_id for build in load_builds(database)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [build.study_name for build in load_builds(database, "vgg10")] == ["vgg10"]


def test_failed_build_may_be_queued_anew(database: Database) -> None:
    first = _queue(database)
    claim_build(database, "worker", 60)
    assert fail_build(database, first.build_id, "worker", "FINN ended with code 1")

    second = _queue(database)

    assert second.build_id != first.build_id
    assert _queue(database) == second
    assert [build.state for build in load_builds(database)] == [BuildState.FAILED, BuildState.QUEUED]


def test_oldest_build_is_claimed_first(database: Database) -> None:
    for trial_number in (5, 3, 9):
        _queue(database, trial_number=trial_number)

    claimed = [claim_build(database, "worker", 60) for _ in range(4)]

    assert [build and build.trial_number for build in claimed] == [5, 3, 9, None]


def test_eight_workers_claim_each_of_100_builds_once(database: Database, run_at_once: Callable[..., list[Any]]) -> None:
    build_ids = [_queue(database, trial_number=number).build_id for number in range(100)]

    claimed = run_at_once(_build_until_empty, database.url)

    assert sorted(build_id for ids in claimed for build_id in ids) == build_ids
    assert {(build.state, build.attempt) for build in load_builds(database)} == {(BuildState.SUCCEEDED, 1)}


def _build_until_empty(url: str) -> list[int]:
    database, owner, claimed = open_database(url), make_lease_owner(), []
    while build := claim_build(database, owner, 60):
        assert finish_build(database, build.build_id, owner, FinishedBuild(REPORT, BuildLevel.CODEGEN))
        claimed.append(build.build_id)
    return claimed


def test_eight_callers_queue_one_build(database: Database, run_at_once: Callable[..., list[Any]]) -> None:
    assert run_at_once(_queue_and_get_id, database.url) == [1] * 8


def _queue_and_get_id(url: str) -> int:
    return _queue(open_database(url)).build_id


def test_build_of_a_dead_worker_is_claimed_again(database: Database) -> None:
    _queue(database)
    claim_build(database, "dead worker", lease_s=0)

    build = claim_build(database, "worker", 60)

    assert build is not None
    assert (build.owner, build.attempt) == ("worker", 2)
    assert not renew_build_lease(database, build.build_id, "dead worker", 60)
    assert not finish_build(database, build.build_id, "dead worker", FinishedBuild(REPORT, BuildLevel.CODEGEN))
    assert load_build(database, build.build_id) == build


def test_build_whose_lease_holds_is_not_claimed_again(database: Database) -> None:
    _queue(database)
    build = claim_build(database, "worker", lease_s=0)
    assert build is not None

    assert renew_build_lease(database, build.build_id, "worker", 60, log_tail="Running step: step_tidy_up")

    assert claim_build(database, "another worker", 60) is None
    assert load_build(database, build.build_id).log_tail == "Running step: step_tidy_up"
    assert renew_build_lease(database, build.build_id, "worker", 60)
    assert load_build(database, build.build_id).log_tail == "Running step: step_tidy_up"


def test_build_that_killed_three_workers_is_failed(database: Database) -> None:
    build_id = _queue(database).build_id
    for _ in range(3):
        assert claim_build(database, "worker", lease_s=0) is not None

    assert claim_build(database, "worker", 60) is None

    build = load_build(database, build_id)
    assert (build.state, build.attempt) == (BuildState.FAILED, 3)
    assert build.message == "its worker died or lost the database 3 times"
    assert build.finished_at is not None


def test_released_build_waits_again_and_counts_no_attempt(database: Database) -> None:
    queued = _queue(database)
    claim_build(database, "worker", 60)

    assert release_build(database, queued.build_id, "worker")

    assert load_build(database, queued.build_id) == queued
    again = claim_build(database, "another worker", 60)
    assert again is not None
    assert again.attempt == 1


def test_finished_build_keeps_its_report(database: Database) -> None:
    build_id = _queue(database).build_id
    claim_build(database, "worker", 60)
    before = datetime.now(UTC)

    assert finish_build(database, build_id, "worker", FinishedBuild(REPORT, BuildLevel.CODEGEN))

    build = load_build(database, build_id)
    assert (build.state, build.report, build.message) == (BuildState.SUCCEEDED, REPORT, None)
    assert build.finished_at is not None
    assert before <= build.finished_at <= datetime.now(UTC)
    assert claim_build(database, "worker", 60) is None


def test_failed_build_keeps_its_message_and_is_not_claimed(database: Database) -> None:
    build_id = _queue(database).build_id
    claim_build(database, "worker", 60)

    assert fail_build(database, build_id, "worker", "no streamlining step left")

    build = load_build(database, build_id)
    assert (build.state, build.report, build.message) == (BuildState.FAILED, None, "no streamlining step left")
    assert claim_build(database, "worker", 60) is None


def test_only_the_owner_may_end_a_build(database: Database) -> None:
    build_id = _queue(database).build_id
    running = claim_build(database, "worker", 60)

    assert not finish_build(database, build_id, "thief", FinishedBuild(REPORT, BuildLevel.CODEGEN))
    assert not fail_build(database, build_id, "thief", "")
    assert not release_build(database, build_id, "thief")
    assert not renew_build_lease(database, build_id, "thief", 60)

    assert load_build(database, build_id) == running


def test_ended_build_cannot_be_ended_again(database: Database) -> None:
    build_id = _queue(database).build_id
    claim_build(database, "worker", 60)
    assert finish_build(database, build_id, "worker", FinishedBuild(REPORT, BuildLevel.CODEGEN))

    assert not fail_build(database, build_id, "worker", "too late")
    assert not release_build(database, build_id, "worker")

    assert load_build(database, build_id).state == BuildState.SUCCEEDED


def test_succeeded_build_waits_for_a_worker_of_its_next_level(database: Database) -> None:
    build_id = _finish_at_codegen(database)

    assert claim_build(database, "worker", 60, levels=[BuildLevel.ESTIMATE, BuildLevel.CODEGEN]) is None
    build = claim_build(database, "worker with tools", 60, levels=[BuildLevel.STITCHED_IP])

    assert build is not None
    assert (build.build_id, build.state, build.attempt) == (build_id, BuildState.RUNNING, 1)
    assert (build.level, build.next_level, build.level_note) == (
        BuildLevel.CODEGEN,
        BuildLevel.STITCHED_IP,
        "no vivado here",
    )
    assert build.report == REPORT


def test_later_level_that_fails_leaves_the_build_succeeded_where_it_was(database: Database) -> None:
    build_id = _finish_at_codegen(database)
    claim_build(database, "worker with tools", 60, levels=[BuildLevel.STITCHED_IP])

    assert fail_build(database, build_id, "worker with tools", "no licence", log_tail="ERROR: licence")

    build = load_build(database, build_id)
    assert (build.state, build.message, build.report) == (BuildState.SUCCEEDED, None, REPORT)
    assert (build.level, build.next_level) == (BuildLevel.CODEGEN, None)
    assert build.level_note == "stitched_ip failed: no licence"
    assert build.log_tail == "ERROR: licence"
    assert claim_build(database, "worker with tools", 60, levels=list(BuildLevel)) is None


def test_later_level_that_killed_three_workers_is_given_up(database: Database) -> None:
    build_id = _finish_at_codegen(database)
    for _ in range(3):
        assert claim_build(database, "worker with tools", lease_s=0, levels=[BuildLevel.STITCHED_IP]) is not None

    assert claim_build(database, "worker with tools", 60, levels=[BuildLevel.STITCHED_IP]) is None

    build = load_build(database, build_id)
    assert (build.state, build.next_level) == (BuildState.SUCCEEDED, None)
    assert build.level_note == "stitched_ip failed: its worker died or lost the database 3 times"


def test_later_level_that_is_given_back_waits_again(database: Database) -> None:
    build_id = _finish_at_codegen(database)
    finished = load_build(database, build_id)
    claim_build(database, "worker with tools", 60, levels=[BuildLevel.STITCHED_IP])

    assert release_build(database, build_id, "worker with tools")

    assert replace(load_build(database, build_id), attempt=1) == replace(finished, owner=None)
    assert claim_build(database, "another", 60, levels=[BuildLevel.STITCHED_IP]) is not None


def test_failed_build_keeps_the_end_of_its_log(database: Database) -> None:
    build_id = _queue(database).build_id
    claim_build(database, "worker", 60)

    assert fail_build(database, build_id, "worker", "no step left", folder="builds/ab", log_tail="one\ntwo")

    build = load_build(database, build_id)
    assert (build.folder, build.log_tail, build.level, build.next_level) == ("builds/ab", "one\ntwo", None, None)


def _finish_at_codegen(database: Database) -> int:
    build_id = _queue(database).build_id
    claim_build(database, "worker", 60)
    assert finish_build(
        database,
        build_id,
        "worker",
        FinishedBuild(REPORT, BuildLevel.CODEGEN, "no vivado here", BuildLevel.STITCHED_IP, "builds/ab"),
    )
    return build_id


def test_builds_to_exclude_are_left_to_others(database: Database) -> None:
    first, second = _queue(database), _queue(database, trial_number=1)

    claimed = [claim_build(database, "worker", 60, exclude={first.build_id}) for _ in range(2)]

    assert [build and build.build_id for build in claimed] == [second.build_id, None]
    assert load_build(database, first.build_id) == first


def test_a_database_that_is_away_is_a_database_error_without_its_password(database: Database) -> None:
    build = _queue(database)
    away = replace(database, engine=_engine_without_connection(database))

    for ask in (
        lambda: claim_build(away, "worker", 60),
        lambda: finish_build(away, build.build_id, "worker", FinishedBuild(REPORT, BuildLevel.CODEGEN)),
        lambda: load_builds(away),
    ):
        with pytest.raises(DatabaseError, match="does not answer: no route to host") as caught:
            ask()
        assert "secret" not in str(caught.value)
    assert load_builds(database) == [build]


def _engine_without_connection(database: Database) -> Engine:
    engine = create_engine(database.url)

    @event.listens_for(engine, "do_connect")
    def fail(*_: object) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError("no route to host")

    return engine


def test_test_accuracy_is_recorded_once_and_while_a_worker_has_the_build(database: Database) -> None:
    build = _queue(database, test_accuracy=None)
    claim_build(database, "worker", 60)

    record_test_accuracy(database, build.build_id, 0.5)
    record_test_accuracy(database, build.build_id, 0.25)

    recorded = load_build(database, build.build_id)
    assert (recorded.test_accuracy, recorded.state, recorded.owner) == (0.5, BuildState.RUNNING, "worker")


def test_unknown_build_is_an_error(database: Database) -> None:
    with pytest.raises(BuildError, match="build 42 is not in the queue"):
        load_build(database, 42)


def _queue(
    database: Database,
    *,
    study_name: str = "dsc4",
    trial_number: int = 0,
    stage: int = 0,
    target: BuildTarget = TARGET,
    test_accuracy: float | None = 0.5625,
) -> Build:
    return queue_build(
        database,
        BuildRequest(
            study_name=study_name,
            trial_number=trial_number,
            stage=stage,
            model=f"{study_name}/trials/{trial_number:05d}/model.onnx",
            reference_vectors=f"{study_name}/trials/{trial_number:05d}/proof.npz",
            target=target,
            timeout_s=1800,
            is_below_threshold=True,
            test_accuracy=test_accuracy,
        ),
    )
