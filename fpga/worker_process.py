"""What all workers share: options, signals, lines with the time, and waiting for a database that does not answer."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable
from threading import Event
from types import FrameType
from typing import Protocol, TypeVar

from storage.command_options import add_artifacts_option, add_finn_option, add_storage_option
from storage.database import DatabaseError

QUEUE_POLL_S = 2.0

LONGEST_WAIT_S = 30.0
"""Between two questions to a database that does not answer."""

EXIT_STOPPED = 130

Report = Callable[[str], None]

Answer = TypeVar("Answer")


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """--storage, --artifacts, --drain and --finn."""
    add_storage_option(parser, "--database")
    add_artifacts_option(parser, "folder of the search's files, and for the worker's own")
    parser.add_argument("--drain", action="store_true", help="end when the queue is empty instead of waiting")
    add_finn_option(parser)


def stop_on_signals() -> Event:
    """An event that SIGINT and SIGTERM set; they do nothing else from now on."""
    stop = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


def print_event(line: str) -> None:
    """One line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


class Worker(Protocol):
    """What asks the database: a build worker or an estimate worker."""

    @property
    def stop(self) -> Event:
        """Set when the worker shall end."""

    @property
    def report(self) -> Report:
        """Takes a line for the log."""


def ask_database(worker: Worker, ask: Callable[[], Answer]) -> Answer | None:
    """Asks until the database answers. None where the worker is stopped before.

    A late result is still good: the row stays this worker's until another one claims it.
    """
    wait_s, is_told = QUEUE_POLL_S, False
    while True:
        try:
            answer = ask()
        except DatabaseError as error:
            if not is_told:
                worker.report(f"{error}; it is asked again until it answers")
                is_told = True
        else:
            if is_told:
                worker.report("the database answers again")
            return answer
        if worker.stop.wait(wait_s):
            return None
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def give_back(release: Callable[[], bool]) -> str:
    """Says what became of the row; `release` returns whether it was still this worker's."""
    try:
        is_released = release()
    except DatabaseError as error:
        return f"could not be given back, and waits until its lease ends: {error}"
    return "given back" if is_released else "is another worker's now"
