"""Checks of the processes that make frames: they end with their work, and say when they cannot do it."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from storage.twin.cell_writers import CellPlace, CellSource, GeneratorError, fill_cells

SOURCE = CellSource("deepsig-2018", seed=1, frames_per_cell=64)

PLACES = [CellPlace(cell, "QPSK", 2 * cell, cell * 64 * 8192) for cell in range(24)]


@pytest.fixture(autouse=True)
def _in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.twin.cell_writers.IN_PROCESS_SAMPLES", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "frames"
    path.touch()
    return path


def test_each_cell_is_told_once_and_no_process_stays(path: Path) -> None:
    assert sorted(fill_cells(path, SOURCE, PLACES, 2)) == list(range(24))
    assert path.stat().st_size == 24 * 64 * 8192
    assert _workers() == []


def test_closing_it_early_ends_its_processes(path: Path) -> None:
    with closing(fill_cells(path, SOURCE, PLACES, 2)) as filled:
        next(filled)
        assert len(_workers()) == 2
    assert _workers() == []


def test_process_that_is_killed_is_an_error_not_a_hole_in_the_file(path: Path) -> None:
    filled = fill_cells(path, SOURCE, PLACES, 1 + 1)
    next(filled)
    for worker in _workers():
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(GeneratorError, match="a process that makes frames ended with exit code -9"):
        list(filled)


@pytest.mark.parametrize("processes", [1, 2])
def test_full_disk_is_told_by_the_process_that_met_it(processes: int) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        list(fill_cells(Path("/dev/full"), SOURCE, PLACES, processes))
    assert _workers() == []


def _workers() -> list[int]:
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return [int(pid) for pid in children if b"storage.twin.cell_writers" in Path(f"/proc/{pid}/cmdline").read_bytes()]
