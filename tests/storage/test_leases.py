"""One driver per study: who gets the lease, who is refused, and who takes over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from storage.database import Database, open_database
from storage.leases import (
    StudyLeaseError,
    acquire_study_lease,
    make_lease_owner,
    release_study_lease,
    renew_study_lease,
)

OTHER_HOST = "another-host:1234:kernel:abcd"

_THIS_PROCESS = f"{socket.gethostname()}:{os.getpid()}"


def test_second_driver_is_refused_while_the_first_lives(database: Database) -> None:
    first = make_lease_owner()
    acquire_study_lease(database, "dsc4", first, 60)

    with pytest.raises(StudyLeaseError, match=f"study dsc4 is being run by {_THIS_PROCESS}; expected no other"):
        acquire_study_lease(database, "dsc4", make_lease_owner(), 60)

    assert renew_study_lease(database, "dsc4", first, 60)


def test_driver_of_another_host_is_trusted_to_live(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, 60)

    with pytest.raises(StudyLeaseError, match="study dsc4 is being run by another-host:1234; expected"):
        acquire_study_lease(database, "dsc4", make_lease_owner(), 60)


def test_dead_process_of_this_host_is_replaced_at_once(database: Database) -> None:
    acquire_study_lease(database, "dsc4", _dead_owner(), lease_s=3600)
    owner = make_lease_owner()

    acquire_study_lease(database, "dsc4", owner, 60)

    assert renew_study_lease(database, "dsc4", owner, 60)


def test_dead_pid_of_another_kernel_or_container_is_trusted_to_live(database: Database) -> None:
    host, pid, kernel, token = _dead_owner().split(":")
    boot_id, _, namespace = kernel.rpartition("-")
    assert namespace.isdecimal()
    for other in (f"{boot_id}-{int(namespace) + 1}", f"{'0' * len(boot_id)}-{namespace}", ""):
        acquire_study_lease(database, f"dsc4-{other}", f"{host}:{pid}:{other}:{token}", 60)

        with pytest.raises(StudyLeaseError, match=f"is being run by {host}:{pid}; expected"):
            acquire_study_lease(database, f"dsc4-{other}", make_lease_owner(), 60)


def test_killed_process_that_nobody_waited_for_counts_as_dead(database: Database) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        acquire_study_lease(database, "dsc4", _owner_with(process.pid), lease_s=3600)
        with pytest.raises(StudyLeaseError):
            acquire_study_lease(database, "dsc4", make_lease_owner(), 60)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        acquire_study_lease(database, "dsc4", make_lease_owner(), 60)


def test_expired_lease_is_taken_over(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, lease_s=0)
    owner = make_lease_owner()

    acquire_study_lease(database, "dsc4", owner, 60)

    assert renew_study_lease(database, "dsc4", owner, 60)
    assert not renew_study_lease(database, "dsc4", OTHER_HOST, 60)
    assert not release_study_lease(database, "dsc4", OTHER_HOST)


def test_renewed_lease_is_kept(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, lease_s=0)

    assert renew_study_lease(database, "dsc4", OTHER_HOST, lease_s=60)

    with pytest.raises(StudyLeaseError, match="another-host:1234;"):
        acquire_study_lease(database, "dsc4", make_lease_owner(), 60)


def test_released_study_is_free(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, 60)

    assert release_study_lease(database, "dsc4", OTHER_HOST)

    acquire_study_lease(database, "dsc4", make_lease_owner(), 60)


def test_same_owner_may_acquire_twice(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, 60)
    acquire_study_lease(database, "dsc4", OTHER_HOST, 60)


def test_studies_have_separate_leases(database: Database) -> None:
    acquire_study_lease(database, "dsc4", OTHER_HOST, 60)
    acquire_study_lease(database, "vgg10", make_lease_owner(), 60)


def test_one_of_eight_drivers_replaces_a_dead_one(database: Database, run_at_once: Callable[..., list[Any]]) -> None:
    acquire_study_lease(database, "dsc4", _dead_owner(), lease_s=3600)

    has_lease = run_at_once(_try_to_drive, database.url)

    assert sorted(has_lease) == [False] * 7 + [True]


def _try_to_drive(url: str) -> bool:
    try:
        acquire_study_lease(open_database(url), "dsc4", f"another-host:{os.getpid()}:kernel:abcd", 60)
    except StudyLeaseError:
        return False
    return True


def _dead_owner() -> str:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return _owner_with(process.pid)


def _owner_with(pid: int) -> str:
    """The owner that another process of this machine would be."""
    host, _, *rest = make_lease_owner().split(":")
    return ":".join([host, str(pid), *rest])
