"""Opening a database: what is set, what is refused, and what is never shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Connection, text

from storage.builds import load_builds, queue_build
from storage.database import (
    Database,
    DatabaseError,
    configure_sqlite,
    hide_password,
    open_database,
    open_existing_database,
)
from storage.estimates import claim_estimate
from storage.evaluations import load_evaluations, record_evaluation
from storage.records import Build, BuildLevel, BuildRequest, BuildState, BuildTarget, Cost, Evaluation
from storage.studies import list_studies, record_study


def test_sqlite_runs_in_wal_mode_with_normal_synchronous_and_long_timeout(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new/folder/studies.db")

    with database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 60_000
    with sqlite3.connect(tmp_path / "new/folder/studies.db") as connection_of_others:
        assert connection_of_others.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_configure_sqlite_reaches_an_engine_that_was_in_use(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/studies.db")

    configure_sqlite(storage.engine)

    with storage.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 1


def test_database_is_shared_with_optuna(database: Database) -> None:
    storage = optuna.storages.RDBStorage(database.url)
    study = optuna.create_study(storage=storage, study_name="shared", directions=["maximize", "minimize"])
    study.tell(study.ask(), [0.5, 0.1])

    record_study(database, "shared", "study: {}", "f00d", {})
    again = open_database(database.url)

    assert list_studies(again) == ["shared"]
    assert [trial.values for trial in study.trials] == [[0.5, 0.1]]
    again.engine.dispose()
    storage.engine.dispose()


def test_open_again_keeps_what_is_there(database: Database) -> None:
    record_study(database, "kept", "study: {}", "f00d", {})

    again = open_existing_database(database.url)

    assert list_studies(again) == ["kept"]
    again.engine.dispose()


def test_eight_processes_make_the_tables_at_once(database_url: str, run_at_once: Callable[..., list[Any]]) -> None:
    assert run_at_once(_open_and_count, database_url) == [0] * 8


def _open_and_count(url: str) -> int:
    return len(load_evaluations(open_database(url), "any"))


def test_relative_sqlite_file_stays_the_same_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    database = open_database("sqlite:///runs/studies.db")

    assert database.url == f"sqlite:///{tmp_path}/runs/studies.db"
    assert (tmp_path / "runs/studies.db").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "the storage URL is ''; expected sqlite:///FILE or postgresql+psycopg://"),
        ("runs/studies.db", "the storage URL is 'runs/studies.db'; expected sqlite:///FILE or postgresql+psycopg://"),
        ("mysql://me:secret@host/db", "the storage URL is 'mysql://***@host/db'; expected sqlite:///FILE"),
        ("postgresql+psycopg//me:secret@host/db", "the storage URL is '***@host/db'; expected sqlite:///FILE"),
        ("postgresql://me:secret@host:port/db", "the storage URL is 'postgresql://***@host:port/db'; expected sqlite"),
        ("postgresql://me:x@secret@host/db", "'postgresql://***@host/db'; expected @ and / in the password written as"),
        ("sqlite://", "the storage URL is 'sqlite://'; expected sqlite:///FILE, with three slashes"),
        ("sqlite:///:memory:", "the storage URL is 'sqlite:///:memory:'; expected sqlite:///FILE"),
        ("sqlite://studies.db", "the storage URL is 'sqlite://studies.db'; expected sqlite:///FILE"),
        (
            "sqlite:///~no-such-user/studies.db",
            "the storage URL is 'sqlite:///~no-such-user/studies.db'; expected a file",
        ),
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot open the database postgresql://***@127.0.0.1:1/db: "),
        ("postgresql://127.0.0.1:1/db?password=secret", "cannot open the database postgresql://127.0.0.1:1/db: "),
    ],
)
def test_bad_url_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_database(url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in _chained_text(caught.value)


def _chained_text(error: BaseException) -> str:
    """What a traceback says above the error: its causes."""
    causes = [error.__cause__, None if error.__suppress_context__ else error.__context__]
    return "".join(str(cause) for cause in causes if cause)


def test_unknown_database_is_refused_without_its_password(postgresql_folder: Path) -> None:
    with pytest.raises(DatabaseError, match='database "nowhere" does not exist') as caught:
        open_database(f"postgresql+psycopg://postgres:secret@/nowhere?host={postgresql_folder}")

    assert "secret" not in str(caught.value)


def test_password_is_in_no_repr(database: Database) -> None:
    assert "secret" not in repr(database)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text(
        "A text that is long enough for SQLite to see that it is none of its files." * 20
    )

    with pytest.raises(DatabaseError, match=r"cannot open the database .*studies\.db: file is not a database"):
        open_database(f"sqlite:///{tmp_path}/studies.db")


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DatabaseError, match="cannot open the database"):
        open_database(f"sqlite:///{tmp_path}/file/studies.db")


def test_tables_of_another_version_are_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE design_schema SET version = 99"))

    with pytest.raises(DatabaseError, match="have version 99; expected 7: use the release that made them"):
        open_database(database.url)


def test_tables_of_the_first_version_are_upgraded_and_keep_what_they_hold(database: Database) -> None:
    with database.engine.begin() as connection:
        for column in ("training_path", "is_exact"):
            connection.execute(text(f"ALTER TABLE design_evaluations DROP COLUMN {column}"))
        _remove_estimates(connection)
        _remove_build_levels(connection)
        connection.execute(text("UPDATE design_schema SET version = 1"))
        connection.execute(
            text(
                "INSERT INTO design_evaluations VALUES "
                "('old', 3, 0, 0.5, '{\"10\": 0.5}', 10, 1.0, 2.0, 0.1, 7, '{\"conv\": 1.0}', 1, 5, 2.0, 'weights')"
            )
        )

    (evaluation,) = load_evaluations(open_database(database.url), "old")

    assert (evaluation.training_path, evaluation.is_exact, evaluation.accuracy) == ("brevitas", False, 0.5)


@pytest.mark.parametrize(
    ("state", "level", "next_level"),
    [
        (BuildState.QUEUED, None, BuildLevel.ESTIMATE),
        (BuildState.SUCCEEDED, BuildLevel.CODEGEN, BuildLevel.STITCHED_IP),
        (BuildState.FAILED, None, None),
    ],
)
def test_builds_of_the_second_version_get_the_level_that_they_reached(
    database: Database, state: BuildState, level: BuildLevel | None, next_level: BuildLevel | None
) -> None:
    with database.engine.begin() as connection:
        _remove_estimates(connection)
        _remove_build_levels(connection)
        connection.execute(text("UPDATE design_schema SET version = 2"))
        connection.execute(
            text(
                "INSERT INTO design_builds (study_name, trial_number, model, proof, board, clk_period_ns, target_fps, "
                "timeout_s, is_below_threshold, state, attempt, queued_at) VALUES ('old', 3, 'm', 'p', 'ZCU111', 5.0, "
                f"100, 60, FALSE, '{state.value}', 1, '2026-11-20 12:00:00')"
            )
        )

    (build,) = load_builds(open_database(database.url))

    assert (build.state, build.level, build.next_level) == (state, level, next_level)


def test_builds_of_the_third_version_are_of_the_class_and_the_output_tells_builds_apart(database: Database) -> None:
    with database.engine.begin() as connection:
        _remove_estimates(connection)
        connection.execute(text("UPDATE design_schema SET version = 3"))
        connection.execute(
            text(
                "INSERT INTO design_builds (study_name, trial_number, model, proof, board, clk_period_ns, target_fps, "
                "timeout_s, is_below_threshold, state, attempt, queued_at) VALUES ('old', 3, 'm', 'p', 'ZCU111', 5.0, "
                "100, 60, FALSE, 'queued', 0, '2026-11-20 12:00:00')"
            )
        )

    upgraded = open_database(database.url)

    (old,) = load_builds(upgraded)
    assert (old.build_id, old.target) == (1, BuildTarget("ZCU111", 5.0, 100, "class"))
    assert _queue_build(upgraded, "class").build_id == old.build_id
    assert _queue_build(upgraded, "scores").target == BuildTarget("ZCU111", 5.0, 100, "scores")
    assert claim_estimate(upgraded, "worker", 60) is None  # its table is there
    assert open_database(database.url).url == upgraded.url


def test_builds_of_the_fourth_version_are_of_the_last_stage_of_their_trials(database: Database) -> None:
    for trial_number, stages in ((3, (0, 1, 2)), (4, (0,))):
        for stage in stages:
            record_evaluation(database, _evaluation(trial_number, stage))
    with database.engine.begin() as connection:
        _remove_build_stages(connection)
        connection.execute(text("UPDATE design_schema SET version = 4"))
        for trial_number in (3, 4, 5):  # of trial 5 nothing was measured
            connection.execute(
                text(
                    "INSERT INTO design_builds (study_name, trial_number, model, proof, board, clk_period_ns, "
                    "target_fps, output, timeout_s, is_below_threshold, state, attempt, queued_at) VALUES "
                    f"('old', {trial_number}, 'm', 'p', 'ZCU111', 5.0, 100, 'class', 60, FALSE, 'queued', 0, "
                    "'2026-11-20 12:00:00')"
                )
            )

    upgraded = open_database(database.url)

    assert [build.network for build in load_builds(upgraded)] == [
        "trial 3 stage 2",
        "trial 4 stage 0",
        "trial 5 stage 0",
    ]
    assert _queue_build(upgraded, "class").build_id == 4  # stage 0 of trial 3 is another network


def _evaluation(trial_number: int, stage: int) -> Evaluation:
    return Evaluation(
        study_name="old",
        trial_number=trial_number,
        stage=stage,
        accuracy=0.5,
        accuracy_by_snr={10: 0.5},
        n_frames=10,
        cost=Cost(bit_ops=1.0, weight_bits=2.0, inference_cost=0.1, parameters=7),
        density={"conv": 1.0},
        epochs=1,
        seed=5,
        training_seconds=2.0,
        checkpoint="weights",
    )


def _queue_build(database: Database, output: str) -> Build:
    return queue_build(
        database,
        BuildRequest(
            study_name="old",
            trial_number=3,
            stage=0,
            model="m",
            reference_vectors="p",
            target=BuildTarget("ZCU111", 5.0, 100, output),
            timeout_s=60,
            is_below_threshold=False,
            test_accuracy=None,
        ),
    )


def _remove_build_stages(connection: Connection) -> None:
    _replace_build_index(connection, "study_name, trial_number, board, clk_period_ns, target_fps, output")
    connection.execute(text("ALTER TABLE design_builds DROP COLUMN stage"))
    connection.execute(text("ALTER TABLE design_evaluations DROP COLUMN architecture"))


def _remove_estimates(connection: Connection) -> None:
    _remove_build_stages(connection)
    connection.execute(text("DROP TABLE design_estimates"))
    _replace_build_index(connection, "study_name, trial_number, board, clk_period_ns, target_fps")
    connection.execute(text("ALTER TABLE design_builds DROP COLUMN output"))


def _replace_build_index(connection: Connection, columns: str) -> None:
    connection.execute(text("DROP INDEX design_builds_once"))
    connection.execute(
        text(f"CREATE UNIQUE INDEX design_builds_once ON design_builds ({columns}) WHERE state <> 'failed'")
    )


def _remove_build_levels(connection: Connection) -> None:
    for column in ("level", "level_note", "next_level", "folder", "log_tail"):
        connection.execute(text(f"ALTER TABLE design_builds DROP COLUMN {column}"))


def test_reader_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="expected the one that search"):
        open_existing_database(f"sqlite:///{tmp_path}/studies.db")

    assert list(tmp_path.iterdir()) == []


def test_hide_password_shows_files_whole() -> None:
    assert hide_password("sqlite:////home/me@here/studies.db") == "sqlite:////home/me@here/studies.db"
