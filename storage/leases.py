"""Who drives a study: one process at a time, until it releases the study, dies, or stops renewing its lease."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import psutil
from sqlalchemy import delete, or_, select, update

from storage.database import Database, insert_row
from storage.tables import database_time, leases


class StudyLeaseError(Exception):
    """Another process drives this study."""


def make_lease_owner() -> str:
    """A name for this process that no other has: host:pid:kernel:random."""
    return f"{socket.gethostname()}:{os.getpid()}:{_name_kernel()}:{secrets.token_hex(4)}"


def acquire_study_lease(db: Database, study_name: str, owner: str, lease_s: float) -> None:
    """Makes `owner`, of make_lease_owner, the one driver of the study for `lease_s` seconds.

    Raises StudyLeaseError unless the study is free, its lease has expired, or a dead process of this machine holds it.
    """
    holder = _load_holder(db, study_name)
    replaceable = [owner] if holder is None or not _is_dead(holder) else [owner, holder]
    values = {"owner": owner, "lease_until": database_time() + lease_s}
    statement = insert_row(db, leases, {"study_name": study_name, **values}).on_conflict_do_update(
        index_elements=["study_name"],
        set_=values,
        where=or_(leases.c.lease_until <= database_time(), leases.c.owner.in_(replaceable)),
    )
    with db.engine.begin() as connection:
        if connection.execute(statement.returning(leases.c.owner)).one_or_none():
            return
    raise StudyLeaseError(_describe_holder(db, study_name))


def renew_study_lease(db: Database, study_name: str, owner: str, lease_s: float) -> bool:
    """Extends the lease to `lease_s` seconds from now; False when `owner` no longer holds the study."""
    statement = (
        update(leases)
        .where(leases.c.study_name == study_name, leases.c.owner == owner)
        .values(lease_until=database_time() + lease_s)
    )
    with db.engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


def release_study_lease(db: Database, study_name: str, owner: str) -> bool:
    """Ends the lease; False when `owner` did not hold it."""
    statement = delete(leases).where(leases.c.study_name == study_name, leases.c.owner == owner)
    with db.engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


def _load_holder(db: Database, study_name: str) -> str | None:
    with db.engine.connect() as connection:
        return connection.scalar(select(leases.c.owner).where(leases.c.study_name == study_name))


def _describe_holder(db: Database, study_name: str) -> str:
    query = select(leases.c.owner, leases.c.lease_until - database_time()).where(leases.c.study_name == study_name)
    with db.engine.connect() as connection:
        owner, seconds_left = connection.execute(query).one_or_none() or ("another process", 0.0)
    process = ":".join(owner.split(":")[:2])
    return (
        f"study {study_name} is being run by {process}; expected no other driver: "
        f"stop it, or wait until its lease ends (in {max(seconds_left, 0):.0f} s unless it is renewed)"
    )


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine and has ended; False where that cannot be told."""
    host, pid, kernel, _ = [*owner.split(":"), "", "", ""][:4]
    if (host, kernel) != (socket.gethostname(), _name_kernel()) or not kernel or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)  # not psutil.pid_exists: for it, a process that /proc hides (hidepid) does not exist
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(int(pid))


def _name_kernel() -> str:
    """The running kernel and its namespace of process ids; empty where that cannot be told.

    Two containers may have the same host name and different processes of the same id.
    """
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _is_zombie(pid: int) -> bool:
    """Killed, but not yet waited for by its parent."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
