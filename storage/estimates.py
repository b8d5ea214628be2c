"""Hardware estimates: one row per architecture and target, made once for all who ask.

A row belongs to no study: it stays when the studies that asked for it are deleted. Each function raises DatabaseError
while the database is away or busy for too long. The caller may then ask again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, or_, select

from spaces.architecture import ArchitectureConfig
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
from storage.hardware_reports import HardwareEstimate
from storage.records import BuildTarget, Estimate, EstimateState
from storage.stored_json import from_json
from storage.tables import database_time, estimates

ESTIMATOR_VERSION = 2
"""Raised by one whenever FINN, its steps or the weights that stand in for trained ones give other estimates."""

QUEUE = Queue(
    estimates.c.key,
    is_waiting=lambda table: or_(table.c.state == EstimateState.QUEUED.value, is_abandoned(table)),
    order=lambda table: (table.c.requested_at, table.c.key),
    attempt=estimates.c.attempt + 1,
)

KEYS_PER_QUERY = 500
"""SQLite takes a limited number of parameters."""


def make_estimate_key(architecture: ArchitectureConfig, target: BuildTarget) -> str:
    """32 hex digits of the architecture, the target and the version of the estimator."""
    parts = {"architecture": architecture.architecture_id, "estimator": ESTIMATOR_VERSION, **asdict(target)}
    parts["clk_period_ns"] = float(target.clk_period_ns)  # 5 is 5.0
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def request_estimate(db: Database, architecture: ArchitectureConfig, target: BuildTarget, timeout_s: int) -> Estimate:
    """Asks for an estimate. A failed one is queued again; any other is returned as it is."""
    key = make_estimate_key(architecture, target)
    queued = {
        "state": EstimateState.QUEUED.value,
        "attempt": 0,
        "requested_at": datetime.now(UTC),
        "timeout_s": timeout_s,
        "owner": None,
        "message": None,
        "finished_at": None,
    }
    values = {"key": key, "architecture_json": architecture.model_dump_json(), **asdict(target), **queued}
    statement = insert_row(db, estimates, values).on_conflict_do_update(
        index_elements=["key"], set_=queued, where=estimates.c.state == EstimateState.FAILED.value
    )
    with transaction(db) as connection:
        connection.execute(statement)
        return _load(connection, key)


def load_estimates(db: Database, keys: Collection[str]) -> dict[str, Estimate]:
    """The estimates of these keys that have been asked for, by key."""
    wanted = list(keys)
    loaded = {}
    with transaction(db) as connection:
        for start in range(0, len(wanted), KEYS_PER_QUERY):
            query = select(estimates).where(estimates.c.key.in_(wanted[start : start + KEYS_PER_QUERY]))
            loaded.update({row["key"]: _to_estimate(row) for row in connection.execute(query).mappings()})
    return loaded


def claim_estimate(db: Database, owner: str, lease_s: float) -> Estimate | None:
    """Gives the estimate that has waited longest to `owner` for `lease_s` seconds; None where none waits.

    An estimate waits when it is queued or its worker's lease has expired. Each claim counts as one attempt. An estimate
    whose workers died MAX_ATTEMPTS times is failed instead.
    """
    fail_deadly_rows(db, estimates, _failure_values(DEADLY, EstimateState.FAILED))
    key = claim_row(db, QUEUE, owner, lease_s)
    if key is None:
        return None
    with transaction(db) as connection:
        return _load(connection, key)


def renew_estimate_lease(db: Database, key: str, owner: str, lease_s: float) -> bool:
    """Extends the lease to `lease_s` seconds from now; False when `owner` no longer makes the estimate."""
    return update_owned(db, estimates.c.key, key, owner, lease_until=database_time() + lease_s)


def finish_estimate(db: Database, key: str, owner: str, hardware: HardwareEstimate) -> bool:
    """Running to estimated; False, and nothing is changed, when `owner` no longer makes it."""
    values = {"state": EstimateState.ESTIMATED.value, "hardware": asdict(hardware), "message": None}
    return update_owned(db, estimates.c.key, key, owner, **values, **end_values())


def fail_estimate(db: Database, key: str, owner: str, message: str, *, is_unbuildable: bool) -> bool:
    """Running to unbuildable or failed. `message` is one line that says why. False when `owner` no longer makes it."""
    state = EstimateState.UNBUILDABLE if is_unbuildable else EstimateState.FAILED
    return update_owned(db, estimates.c.key, key, owner, **_failure_values(message, state))


def release_estimate(db: Database, key: str, owner: str) -> bool:
    """Running back to queued; the attempt does not count. False when `owner` no longer makes it."""
    values = {"state": EstimateState.QUEUED.value, "owner": None, "lease_until": None}
    return update_owned(db, estimates.c.key, key, owner, **values, attempt=estimates.c.attempt - 1)


def _failure_values(message: str, state: EstimateState) -> dict[str, Any]:
    return {"state": state.value, "message": message, **end_values()}


def _load(connection: Connection, key: str) -> Estimate:
    row = connection.execute(select(estimates).where(estimates.c.key == key)).mappings().one()
    return _to_estimate(row)


def _to_estimate(row: RowMapping) -> Estimate:
    values = dict(row)
    del values["lease_until"]
    target = BuildTarget(**{name: values.pop(name) for name in ("board", "clk_period_ns", "target_fps", "output")})
    hardware = values.pop("hardware")
    return Estimate(
        **values | {"state": EstimateState(values["state"])},
        target=target,
        hardware=None if hardware is None else from_json(HardwareEstimate, hardware),
    )
