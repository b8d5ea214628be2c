"""Checks of the record of finished cells: what is in it is on disk, and a crash costs no more than its last line."""

import fcntl
from pathlib import Path
from typing import TextIO

import pytest

from storage.twin.finished_cells import load_finished_cells, open_finished_cells

TWIN = {"profile": "deepsig-2018", "seed": 7}


def test_cells_are_saved_at_the_end_of_the_block_also_when_it_fails(tmp_path: Path) -> None:
    path, flushed = tmp_path / "record", []

    def begin_and_stop() -> None:
        with open_finished_cells(path, lambda: flushed.append(path.read_text())) as record:
            record.begin(TWIN)
            record.add(3)
            record.add(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin_and_stop()
    assert load_finished_cells(path, TWIN) == {1, 3}
    assert [text.count("\n") for text in flushed] == [1]  # the cells went to the disk before their numbers


def test_cells_of_another_twin_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "record"
    with open_finished_cells(path, lambda: None) as record:
        record.begin(TWIN)
        record.add(3)
    assert load_finished_cells(path, {**TWIN, "seed": 8}) == set()
    with open_finished_cells(path, lambda: None) as record:
        assert (record.is_of(TWIN), record.is_of({**TWIN, "seed": 8}), record.cells) == (True, False, {3})
        record.clear()
        record.begin({**TWIN, "seed": 8})
    assert load_finished_cells(path, TWIN) == set()


def test_record_that_was_removed_before_its_lock_was_had_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "record", fcntl.flock
    descriptors: list[int] = []

    def remove_first(file: TextIO, operation: int) -> None:
        if not descriptors:
            path.unlink()
        descriptors.append(file.fileno())
        lock(file, operation)

    monkeypatch.setattr("storage.twin.finished_cells.fcntl.flock", remove_first)
    with open_finished_cells(path, lambda: None) as record:
        record.begin(TWIN)
        record.add(3)
        with path.open() as other, pytest.raises(BlockingIOError):
            lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert load_finished_cells(path, TWIN) == {3}


def test_line_that_a_crash_cut_off_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "record"
    with open_finished_cells(path, lambda: None) as record:
        record.begin(TWIN)
        record.add(3)
        record.add(12)
    path.write_text(path.read_text()[:-2])  # 12 has become 1
    assert load_finished_cells(path, TWIN) == {3}


@pytest.mark.parametrize("text", ["", "\n", "no record\n", '{"profile": "deep'])
def test_file_that_is_no_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert load_finished_cells(tmp_path / "record", TWIN) == set()
    assert load_finished_cells(tmp_path / "missing", TWIN) == set()
