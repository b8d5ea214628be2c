"""The build queue: one row per hardware build, claimed by one worker at a time under a lease.

A build waits for its next level. Once it has been through the levels of one worker, it has succeeded. A worker with
more tools may claim it again for the later levels. Where one of those fails, the build stays succeeded at its level.

Each function raises DatabaseError while the database is away or busy for too long. The caller may then ask again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Text,
    and_,
    case,
    cast,
    func,
    null,
    or_,
    select,
    update,
)

from storage.claims import (
    DEADLY,
    Queue,
    claim_row,
    end_values,
    fail_deadly_rows,
    is_abandoned,
    transaction,
    update_owned,
)
from storage.database import Database, insert_row
from storage.hardware_reports import BuildReport, Resources
from storage.records import Build, BuildLevel, BuildRequest, BuildState, BuildTarget, FinishedBuild
from storage.rtl_record import RtlCheck
from storage.stored_json import from_json
from storage.tables import BUILD_KEY, NOT_FAILED, builds, database_time

FIRST_LEVEL = next(iter(BuildLevel))


class BuildError(Exception):
    """There is no such build."""


def queue_build(db: Database, request: BuildRequest) -> Build:
    """Asks for one build. The same network and target twice is one build, unless the first one failed."""
    values = {
        **_to_row(request),
        "state": BuildState.QUEUED.value,
        "attempt": 0,
        "queued_at": datetime.now(UTC),
        "next_level": FIRST_LEVEL.value,
    }
    statement = insert_row(db, builds, values).on_conflict_do_update(
        index_elements=BUILD_KEY,
        index_where=NOT_FAILED,
        set_={"study_name": request.study_name},  # changes nothing, but returns the id of the row that is there
    )
    with transaction(db) as connection:
        build_id = connection.execute(statement.returning(builds.c.build_id)).scalar_one()
        return _load(connection, build_id)


def record_test_accuracy(db: Database, build_id: int, test_accuracy: float) -> None:
    """Stores the accuracy on the test part, 0 to 1, of a build that has none yet."""
    statement = (
        update(builds)
        .where(builds.c.build_id == build_id, builds.c.test_accuracy.is_(None))
        .values(test_accuracy=test_accuracy)
    )
    with transaction(db) as connection:
        connection.execute(statement)


def claim_build(
    db: Database,
    owner: str,
    lease_s: float,
    exclude: Collection[int] = (),
    levels: Collection[BuildLevel] = (FIRST_LEVEL,),
) -> Build | None:
    """Gives the oldest build that waits for one of `levels` to `owner` for `lease_s` seconds; None where none waits.

    A build waits when it is queued, has not been through all levels, or its worker's lease has expired. New builds come
    before those that have a level; builds in `exclude` are left out. Each claim counts as one attempt. A build whose
    workers died MAX_ATTEMPTS times is failed instead.
    """
    fail_deadly_rows(db, builds, _failure_values(DEADLY))
    queue = Queue(
        builds.c.build_id,
        is_waiting=lambda table: and_(_is_waiting(table, levels), table.c.build_id.not_in(exclude)),
        order=lambda table: (table.c.level.is_not(None), table.c.build_id),
        attempt=case((builds.c.state == BuildState.SUCCEEDED.value, 1), else_=builds.c.attempt + 1),
    )
    build_id = claim_row(db, queue, owner, lease_s)
    return None if build_id is None else load_build(db, build_id)


def renew_build_lease(db: Database, build_id: int, owner: str, lease_s: float, *, log_tail: str | None = None) -> bool:
    """Extends the lease to `lease_s` seconds from now; False when `owner` no longer runs the build.

    Stores `log_tail`, the end of the build's log so far, where it is given.
    """
    log = {} if log_tail is None else {"log_tail": log_tail}
    return update_owned(db, builds.c.build_id, build_id, owner, lease_until=database_time() + lease_s, **log)


def finish_build(db: Database, build_id: int, owner: str, finished: FinishedBuild) -> bool:
    """Running to succeeded at its level. The build then waits for the next level, and its note says for what tools.

    False, and nothing is changed, when `owner` no longer runs the build.
    """
    return update_owned(
        db,
        builds.c.build_id,
        build_id,
        owner,
        report=asdict(finished.report),
        message=None,
        level=finished.level.value,
        level_note=finished.level_note,
        next_level=None if finished.next_level is None else finished.next_level.value,
        folder=finished.folder,
        log_tail=None,
        state=BuildState.SUCCEEDED.value,
        **end_values(),
    )


def record_rtl_check(db: Database, build_id: int, by_yosys: Mapping[str, Resources], check: RtlCheck) -> bool:
    """Adds a cross-check to a succeeded build's report: what Yosys counts, by layer's name, and what was found.

    False, and nothing is changed, where the build is running or has no report.
    """
    is_it = and_(builds.c.build_id == build_id, builds.c.state == BuildState.SUCCEEDED.value)
    with transaction(db) as connection:
        report = connection.execute(select(builds.c.report).where(is_it).with_for_update()).scalar_one_or_none()
        if report is None:
            return False
        after = from_json(BuildReport, report).with_rtl_check(by_yosys, check)
        return connection.execute(update(builds).where(is_it).values(report=asdict(after))).rowcount == 1


def fail_build(
    db: Database, build_id: int, owner: str, message: str, *, folder: str | None = None, log_tail: str | None = None
) -> bool:
    """Running to failed. `message` is one line that says why. False when `owner` no longer runs the build.

    A build that has been through a level stays succeeded there, and its note says what failed after it.
    """
    values = _failure_values(message) | {"log_tail": log_tail}
    return update_owned(
        db, builds.c.build_id, build_id, owner, **values, **({} if folder is None else {"folder": folder})
    )


def release_build(db: Database, build_id: int, owner: str) -> bool:
    """Running back to the state it was claimed in; the attempt does not count. False when `owner` no longer runs it."""
    return update_owned(
        db,
        builds.c.build_id,
        build_id,
        owner,
        state=case((_has_level(), BuildState.SUCCEEDED.value), else_=BuildState.QUEUED.value),
        owner=None,
        lease_until=None,
        attempt=builds.c.attempt - 1,
    )


def load_builds(db: Database, study_name: str | None = None) -> list[Build]:
    """The builds of one study, or of all, in the order they were queued."""
    query = select(builds).order_by(builds.c.build_id)
    if study_name is not None:
        query = query.where(builds.c.study_name == study_name)
    with transaction(db) as connection:
        return [_to_build(row) for row in connection.execute(query).mappings()]


def read_build_marks(db: Database, study_name: str) -> Sequence[tuple[Any, ...]]:
    """Equal as long as no build of the study changes, but for the log of one that runs; cheaper than the builds."""
    marks = (builds.c.build_id, builds.c.state, builds.c.attempt, builds.c.level, builds.c.next_level)
    texts = (builds.c.level_note, builds.c.message, builds.c.test_accuracy, builds.c.finished_at)
    report = func.length(cast(builds.c.report, Text))
    query = select(*marks, *texts, report).where(builds.c.study_name == study_name).order_by(builds.c.build_id)
    with transaction(db) as connection:
        return [tuple(row) for row in connection.execute(query)]


def load_build(db: Database, build_id: int) -> Build:
    """One build. Raises BuildError where there is none of this id."""
    with transaction(db) as connection:
        return _load(connection, build_id)


def _load(connection: Connection, build_id: int) -> Build:
    row = connection.execute(select(builds).where(builds.c.build_id == build_id)).mappings().one_or_none()
    if row is None:
        raise BuildError(f"build {build_id} is not in the queue")
    return _to_build(row)


def _is_waiting(table: FromClause, levels: Collection[BuildLevel]) -> ColumnElement[bool]:
    is_free = table.c.state.in_((BuildState.QUEUED.value, BuildState.SUCCEEDED.value))
    return and_(
        table.c.next_level.in_([level.value for level in levels]),
        or_(is_free, is_abandoned(table)),
    )


def _failure_values(message: str) -> dict[str, Any]:
    return {
        "state": case((_has_level(), BuildState.SUCCEEDED.value), else_=BuildState.FAILED.value),
        "message": case((_has_level(), null()), else_=message),
        "level_note": case((_has_level(), builds.c.next_level + f" failed: {message}"), else_=null()),
        "next_level": None,
        **end_values(),
    }


def _has_level() -> ColumnElement[bool]:
    return builds.c.level.is_not(None)


def _to_row(request: BuildRequest) -> dict[str, Any]:
    """The columns that a request fills. The column `proof` holds the reference vectors: a stored name stays."""
    values = asdict(request)
    target: dict[str, Any] = values.pop("target")
    values["proof"] = values.pop("reference_vectors")
    return values | target


def _to_build(row: RowMapping) -> Build:
    values = dict(row)
    del values["lease_until"]
    values["reference_vectors"] = values.pop("proof")
    target = BuildTarget(**{name: values.pop(name) for name in ("board", "clk_period_ns", "target_fps", "output")})
    report = values.pop("report")
    level, next_level = _to_level(values.pop("level")), _to_level(values.pop("next_level"))
    state = BuildState(values.pop("state"))
    built = None if report is None else from_json(BuildReport, report)
    return Build(**values, target=target, state=state, report=built, level=level, next_level=next_level)


def _to_level(value: str | None) -> BuildLevel | None:
    return None if value is None else BuildLevel(value)
