"""The record of an unfinished twin's cells that are on disk: a text file that the twin's writer keeps locked."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from storage.dataset.radioml import DatasetError

SAVE_INTERVAL_S = 1.0
"""A killed run loses this much work, and one cell per process."""


def load_finished_cells(path: Path, attributes: dict[str, Any]) -> set[int]:
    """The finished cells of the twin of these attributes; none where the record is missing or of another twin."""
    with contextlib.suppress(OSError), path.open() as file:
        header, cells = _read(file)
        return cells if header == attributes else set()
    return set()


@contextmanager
def open_finished_cells(path: Path, flush_cells: Callable[[], None]) -> Iterator[FinishedCells]:
    """Opens the record at `path`, or makes it, and saves it when the block ends, also by an error.

    Within the block no other process can open it, and the block may remove it. An empty record is removed.
    `flush_cells()` must bring the cells themselves to the disk. Raises DatasetError where another process has it open.
    """
    with _open_locked(path) as file:
        record = FinishedCells(file, flush_cells)
        try:
            yield record
        finally:
            record.save()
            if os.fstat(file.fileno()).st_size == 0:
                path.unlink(missing_ok=True)


def _open_locked(path: Path) -> TextIO:
    """Locked by hand: the record is its own lock and is removed under it. filelock would leave a file beside it."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # falls with its process, however that ends
        except BlockingIOError:
            file.close()
            raise DatasetError(
                f"{path.with_suffix('')} is being written by another process; expected to be its only writer"
            ) from None
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: TextIO) -> bool:
    """False where another process removed the file before we locked it: such a lock keeps nobody out."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


class FinishedCells:
    """The first line holds the twin's attributes. Each further line is the number of a cell that is on disk."""

    def __init__(self, file: TextIO, flush_cells: Callable[[], None]) -> None:
        self._file, self._flush_cells = file, flush_cells
        self._header, self.cells = _read(file)
        self._unsaved: list[int] = []
        self._saved_at = time.monotonic()

    def is_of(self, attributes: dict[str, Any]) -> bool:
        return self._header == attributes

    def clear(self) -> None:
        self._file.truncate(0)
        self._header, self.cells = None, set()

    def begin(self, attributes: dict[str, Any]) -> None:
        """Opens a cleared record for the twin of these attributes."""
        self._append(json.dumps(attributes))
        self._header = attributes

    def add(self, cell: int) -> None:
        """Takes a cell that was written; it need not be on disk yet."""
        self.cells.add(cell)
        self._unsaved.append(cell)
        if time.monotonic() - self._saved_at > SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Only what is on disk is recorded."""
        if self._unsaved:
            self._flush_cells()
            self._append(*map(str, self._unsaved))
        self._unsaved = []
        self._saved_at = time.monotonic()

    def _append(self, *lines: str) -> None:
        self._file.write("".join(f"{line}\n" for line in lines))
        self._file.flush()


def _read(file: TextIO) -> tuple[dict[str, Any] | None, set[int]]:
    """A last line without a line end was cut off by a crash and does not count."""
    file.seek(0)
    lines = file.read().split("\n")[:-1]
    try:
        return json.loads(lines[0]), {int(line) for line in lines[1:]}
    except (IndexError, ValueError):
        return None, set()
