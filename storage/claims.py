"""Rows that one worker at a time holds under a lease: what both queues, of builds and of estimates, share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, FromClause, Table, and_, select, update
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from storage.database import Database, DatabaseError, hide_password
from storage.tables import database_time

MAX_ATTEMPTS = 3
"""A row is failed for good once this many workers have died while they held it."""

DEADLY = f"its worker died or lost the database {MAX_ATTEMPTS} times"

RUNNING = "running"
"""The state of a row that a worker holds, in every queue."""


@dataclass(frozen=True)
class Queue:
    """The rows of a table that wait for a worker. `is_waiting` and `order` take the table, or an alias of it."""

    key: Column[Any]
    is_waiting: Callable[[FromClause], ColumnElement[bool]]
    order: Callable[[FromClause], tuple[ColumnElement[Any], ...]]
    attempt: ColumnElement[int]
    """What a row's number of attempts is once it is claimed."""


@contextmanager
def transaction(db: Database) -> Iterator[Connection]:
    """One transaction. Raises DatabaseError while the database is away or busy for too long."""
    try:
        with db.engine.begin() as connection:
            yield connection
    except (InterfaceError, InternalError, OperationalError) as error:  # not answering; other errors are ours
        reason = " ".join(str(error.orig).split())
        raise DatabaseError(f"the database {hide_password(db.url)} does not answer: {reason}") from error


def claim_row(db: Database, queue: Queue, owner: str, lease_s: float) -> Any | None:
    """Gives the first row that waits to `owner` for `lease_s` seconds; its key, or None where none waits."""
    key, table = queue.key, _table(queue.key)
    candidate = table.alias()
    first = (
        select(candidate.c[key.name])
        .where(queue.is_waiting(candidate))
        .order_by(*queue.order(candidate))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    claim = (
        update(table)
        .where(key == first, queue.is_waiting(table))
        .values(state=RUNNING, owner=owner, lease_until=database_time() + lease_s, attempt=queue.attempt)
        .returning(key)
    )
    with transaction(db) as connection:
        return connection.execute(claim).scalar_one_or_none()


def is_abandoned(table: FromClause) -> ColumnElement[bool]:
    """Whether the row's worker let its lease expire."""
    return and_(table.c.state == RUNNING, table.c.lease_until <= database_time())


def fail_deadly_rows(db: Database, table: Table, values: dict[str, Any]) -> None:
    """Sets `values` in the rows that have lost MAX_ATTEMPTS workers."""
    statement = update(table).where(is_abandoned(table), table.c.attempt >= MAX_ATTEMPTS).values(**values)
    with transaction(db) as connection:
        connection.execute(statement)


def update_owned(db: Database, key: Column[Any], value: object, current_owner: str, **values: object) -> bool:
    """Sets `values` in the row of this key. False, and nothing is changed, when `current_owner` does not hold it."""
    table = _table(key)
    statement = (
        update(table).where(key == value, table.c.owner == current_owner, table.c.state == RUNNING).values(**values)
    )
    with transaction(db) as connection:
        return connection.execute(statement).rowcount == 1


def end_values() -> dict[str, Any]:
    """The values that end a claim, whatever its outcome."""
    return {"lease_until": None, "finished_at": datetime.now(UTC)}


def _table(key: Column[Any]) -> Table:
    assert isinstance(key.table, Table)  # keys are columns of tables, never of queries
    return key.table
