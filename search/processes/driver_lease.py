"""The lease on a study: one process at a time drives it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage.database import Database
from storage.leases import acquire_study_lease, make_lease_owner, release_study_lease, renew_study_lease

LEASE_S = 60.0
RENEWAL_S = LEASE_S / 4


class LeaseLostError(Exception):
    """Another process drives the study now, or may do so. This one must not write to it any more."""


class DriverLease:
    """This process's lease on a study, renewed by a thread."""

    def __init__(self, database: Database, study_name: str) -> None:
        self._database, self._study_name = database, study_name
        self.owner = make_lease_owner()
        self._released = threading.Event()
        self._is_lost = False
        self._renewed = time.monotonic()

    def check(self) -> None:
        """Raises LeaseLostError where another driver took the study, or the lease was not renewed in time.

        Compares clocks itself: the thread that renews may be waiting for the database.
        """
        if self._is_lost:
            raise LeaseLostError(
                f"study {self._study_name} was taken over by another driver after this one had not answered for "
                f"{LEASE_S:.0f} s; this run ends and leaves the study to it"
            )
        if time.monotonic() - self._renewed >= LEASE_S:
            raise LeaseLostError(
                f"study {self._study_name} may have another driver by now: the database did not answer this one for "
                f"{LEASE_S:.0f} s; this run ends, and a later one goes on from here"
            )

    def acquire(self) -> None:
        """Raises StudyLeaseError where another driver holds the study."""
        self._renewed = time.monotonic()  # first: this process must never count on a longer lease than the database
        acquire_study_lease(self._database, self._study_name, self.owner, LEASE_S)
        threading.Thread(target=self._renew, name="study lease", daemon=True).start()

    def release(self) -> None:
        """Ends the lease."""
        self._released.set()
        release_study_lease(self._database, self._study_name, self.owner)

    def _renew(self) -> None:
        while not self._released.wait(RENEWAL_S):
            asked = time.monotonic()
            try:
                is_held = renew_study_lease(self._database, self._study_name, self.owner, LEASE_S)
            except Exception:  # of whatever kind: the database may be away for a while
                continue
            if not is_held:
                self._is_lost = not self._released.is_set()
                return
            self._renewed = asked


@contextmanager
def hold_study(database: Database, study_name: str) -> Iterator[DriverLease]:
    """Holds the lease inside the block. Raises StudyLeaseError where another process has it."""
    lease = DriverLease(database, study_name)
    lease.acquire()
    try:
        yield lease
    finally:
        with suppress(Exception):  # of whatever kind: the lease then expires
            lease.release()
