"""Ctrl-C and SIGTERM: the first ends the run in good order, the second at once."""

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
    """Remembers a signal. It breaks running code inside `breakable` alone."""

    def __init__(self) -> None:
        self.is_requested = False
        self._is_breakable = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM inside the block. Main thread only."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Sets the handlers again, after a library has set its own."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Inside the block, a signal raises SearchInterrupted at any point; one that came before raises it at once."""
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
