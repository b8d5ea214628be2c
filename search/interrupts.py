"""Ctrl-C and SIGTERM: the first one ends the run in good order, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SearchInterrupted(KeyboardInterrupt):
    """The user asked to stop."""


class Interrupts:
    """Remembers that a stop was asked for. Only inside `breakable` does the signal break what runs."""

    def __init__(self) -> None:
        self.is_requested = False
        self._is_breakable = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Takes over SIGINT and SIGTERM for the length of the block; main thread only."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Takes the signals over once more, after a library that installed handlers of its own."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """A stretch of work that can be left at any point: a signal raises SearchInterrupted here.

        Also when it came just before.
        """
        self._is_breakable = True
        try:
            self.check()
            yield
        finally:
            self._is_breakable = False

    def check(self) -> None:
        """Raises SearchInterrupted where a stop was asked for."""
        if self.is_requested:
            raise SearchInterrupted

    def _handle(self, _number: int, _frame: FrameType | None) -> Any:
        is_second = self.is_requested
        self.is_requested = True
        if self._is_breakable or is_second:
            raise SearchInterrupted
