"""The right to work on what was claimed from a queue, renewed while a worker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

LEASE_S = 60.0

RENEWAL_S = 10.0

POLL_S = 0.2


@dataclass(frozen=True)
class Attempt:
    """What one attempt at claimed work is told, and tells."""

    stop: Event
    """Set when the lease was lost or the worker shall end."""
    tell: Callable[[str], None]
    """Takes what is to be said of it, a line each."""


@contextmanager
def keep_lease(
    renew: Callable[[float], bool], name: str, stop: Event, report: Callable[[str], None]
) -> Iterator[Event]:
    """Renews the lease of `name` meanwhile; the event is set when it was lost, or when `stop` is.

    `renew` makes it last for so many seconds from now; False when another took it over.
    """
    lost_or_stopped, is_done = Event(), Event()

    def keep() -> None:
        renewed = time.monotonic()
        while not is_done.wait(POLL_S):
            if stop.is_set():
                lost_or_stopped.set()
            if time.monotonic() - renewed < RENEWAL_S or lost_or_stopped.is_set():
                continue
            renewed = time.monotonic()
            try:
                if not renew(LEASE_S):
                    lost_or_stopped.set()
            except Exception as error:  # a database that is away for a moment does not end the work
                reason = " ".join(str(error).split())
                report(f"the lease of {name} could not be renewed: {reason}")

    thread = Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield lost_or_stopped
    finally:
        is_done.set()
        thread.join()
