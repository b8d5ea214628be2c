"""The right to run a build, renewed while a worker runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from storage.builds import renew_build_lease
from storage.database import Database
from storage.records import Build

LEASE_S = 60.0

RENEWAL_S = 10.0

POLL_S = 0.2


@contextmanager
def keep_build_lease(
    database: Database, build: Build, owner: str, stop: Event, report: Callable[[str], None]
) -> Iterator[Event]:
    """Renews the build's lease meanwhile; the event is set when it was lost, or when `stop` is."""
    lost_or_stopped, is_done = Event(), Event()

    def renew() -> None:
        renewed = time.monotonic()
        while not is_done.wait(POLL_S):
            if stop.is_set():
                lost_or_stopped.set()
            if time.monotonic() - renewed < RENEWAL_S or lost_or_stopped.is_set():
                continue
            renewed = time.monotonic()
            try:
                if not renew_build_lease(database, build.build_id, owner, LEASE_S):
                    lost_or_stopped.set()
            except Exception as error:  # a database that is away for a moment does not end a build
                reason = " ".join(str(error).split())
                report(f"the lease of build {build.build_id} could not be renewed: {reason}")

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lost_or_stopped
    finally:
        is_done.set()
        thread.join()
