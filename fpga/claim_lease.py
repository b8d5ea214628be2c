"""The lease of a claimed build or estimate, renewed while a worker works on it."""

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
    """One attempt at claimed work: when it is to stop, and whom it tells what happens."""

    stop: Event
    """Set when the lease was lost or the worker shall end."""
    tell: Callable[[str], None]
    """Takes what is to be said of it, a line each."""


@contextmanager
def keep_lease(
    renew: Callable[[float], bool], name: str, stop: Event, report: Callable[[str], None]
) -> Iterator[Event]:
    """Renews the lease of `name` inside the block. The event is set when the lease is lost, or when `stop` is.

    `renew` takes the seconds that the lease is to last, and returns False where another worker has it.
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
