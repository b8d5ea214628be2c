"""Checks of a twin's file: its layout, the same whatever the processes, and what it does not overwrite."""

import fcntl
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.dataset.frame_check import check_frames
from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.signals.radioml_classes import CLASS_NAMES
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.file import (
    GENERATOR_VERSION,
    Twin,
    count_finished_cells,
    partial_path,
    record_path,
    request_twin,
    write_twin,
)


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def small_twin() -> Twin:
    return request_twin(2, 7, "deepsig-2018", (0, 30))


@pytest.mark.parametrize("profile", SIGNAL_SETS)
def test_twin_has_the_layout_and_types_of_the_genuine_file(tmp_path: Path, profile: str) -> None:
    path, signal_set = tmp_path / "twin.hdf5", SIGNAL_SETS[profile]
    n_classes, n_snrs = len(signal_set.class_names), len(signal_set.snrs_db)
    n_frames = n_classes * n_snrs * 3
    write_twin(path, request_twin(3, 7, profile))
    with h5py.File(path) as h5:
        assert (h5["X"].shape, h5["X"].dtype) == ((n_frames, signal_set.frame_length, 2), np.float32)
        assert (h5["Y"].shape, h5["Y"].dtype) == ((n_frames, n_classes), np.int64)
        assert (h5["Z"].shape, h5["Z"].dtype) == ((n_frames, 1), np.int64)
        assert all(h5[name].id.get_offset() is not None for name in "XYZ")
        np.testing.assert_array_equal(h5["Y"][...], np.repeat(np.eye(n_classes), n_snrs * 3, axis=0))
        np.testing.assert_array_equal(h5["Z"][:, 0], np.tile(np.repeat(signal_set.snrs_db, 3), n_classes))
    file = inspect_radioml(path)
    assert (file.frames_per_cell, file.class_names, file.profile) == (3, signal_set.class_names, profile)
    check_frames(file)


def test_frames_lie_in_their_cells(tmp_path: Path, small_twin: Twin) -> None:
    write_twin(tmp_path / "twin.hdf5", small_twin)
    (block,) = SIGNAL_SETS["deepsig-2018"].generate_cell("8PSK", 30, 7, 2)
    with h5py.File(tmp_path / "twin.hdf5") as h5:
        first = (CLASS_NAMES.index("8PSK") * 2 + 1) * 2
        np.testing.assert_array_equal(h5["X"][first : first + 2], block)


def test_twin_says_how_it_was_made(tmp_path: Path, small_twin: Twin) -> None:
    write_twin(tmp_path / "twin.hdf5", small_twin)
    with h5py.File(tmp_path / "twin.hdf5") as h5:
        assert (h5.attrs["profile"], h5.attrs["seed"], h5.attrs["frames_per_cell"]) == ("deepsig-2018", 7, 2)
        assert h5.attrs["generator_version"] == GENERATOR_VERSION
        assert tuple(h5.attrs["class_names"]) == CLASS_NAMES
        assert h5.attrs["snrs_db"].tolist() == [0, 30]


def test_file_is_the_same_whatever_the_number_of_processes(
    tmp_path: Path, small_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.twin.cell_writers.IN_PROCESS_SAMPLES", 0)
    for processes in (1, 2, 3):
        write_twin(tmp_path / f"{processes}.hdf5", small_twin, processes)
    one, two, three = ((tmp_path / f"{processes}.hdf5").read_bytes() for processes in (1, 2, 3))
    assert one == two
    assert one == three


def test_interrupted_twin_goes_on_only_as_the_same_twin(tmp_path: Path, small_twin: Twin) -> None:
    path = tmp_path / "twin.hdf5"
    _interrupt(path, small_twin, after_cells=20)
    others = [request_twin(2, 8, "deepsig-2018", (0, 30)), request_twin(3, 7, "deepsig-2018", (0, 30))]
    assert [count_finished_cells(path, twin) for twin in (small_twin, *others)] == [20, 0, 0]
    assert _cells_made(path, others[0]) == 48
    with h5py.File(path) as h5:
        assert h5.attrs["seed"] == 8


def test_partial_file_without_its_record_or_damaged_is_begun_anew(tmp_path: Path, small_twin: Twin) -> None:
    one, two = tmp_path / "one.hdf5", tmp_path / "two.hdf5"
    for path in (one, two):
        _interrupt(path, small_twin, after_cells=20)
    record_path(one).unlink()
    partial_path(two).write_bytes(b"")
    assert [_cells_made(path, small_twin) for path in (one, two)] == [48, 48]
    assert one.read_bytes() == two.read_bytes()


def test_finished_twin_lies_alone_and_is_not_made_again(tmp_path: Path, small_twin: Twin) -> None:
    path = tmp_path / "twin.hdf5"
    assert write_twin(path, small_twin)
    assert list(tmp_path.iterdir()) == [path]
    assert not write_twin(path, small_twin)


def test_another_twin_is_replaced_only_by_force(tmp_path: Path, small_twin: Twin) -> None:
    path = tmp_path / "twin.hdf5"
    write_twin(path, request_twin(1, 8, "deepsig-2018", (0, 30)))
    before = path.read_bytes()
    message = r"is another twin \(seed 8 rather than 7, frames_per_cell 1 rather than 2\); expected another file name"
    with pytest.raises(DatasetError, match=message):
        write_twin(path, small_twin)
    assert path.read_bytes() == before
    assert write_twin(path, small_twin, force=True)
    assert inspect_radioml(path).frames_per_cell == 2


@pytest.mark.parametrize("force", [False, True])
def test_file_that_is_no_twin_is_never_overwritten(tmp_path: Path, small_twin: Twin, force: bool) -> None:
    genuine, text = tmp_path / "genuine.hdf5", tmp_path / "notes.txt"
    with h5py.File(genuine, "w") as h5:
        h5["X"] = np.zeros((48, 1024, 2), np.float32)
    text.write_text("mine")
    for path in (genuine, text):
        before = path.read_bytes()
        with pytest.raises(DatasetError, match=rf"output file is {path}, which exists and is no twin: it is not over"):
            write_twin(path, small_twin, force=force)
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "seven"), ("seed", np.inf), ("seed", [1, 2]), ("snrs_db", 30), ("snrs_db", ["high"]), ("class_names", 7)],
)
def test_file_with_attributes_of_others_is_no_twin(tmp_path: Path, small_twin: Twin, name: str, value: object) -> None:
    path = tmp_path / "foreign.hdf5"
    with h5py.File(path, "w") as h5:
        h5.attrs.update({**small_twin.attributes, name: value})
    with pytest.raises(DatasetError, match="which exists and is no twin"):
        write_twin(path, small_twin, force=True)


def test_twin_that_another_process_finishes_just_before_the_lock_is_had_is_left_as_it_is(
    tmp_path: Path, small_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, others = tmp_path / "twin.hdf5", fcntl.flock, [small_twin]

    def finish_first(descriptor: int, operation: int) -> None:
        if others:
            write_twin(path, others.pop())
        lock(descriptor, operation)

    monkeypatch.setattr("storage.twin.finished_cells.fcntl.flock", finish_first)
    assert not write_twin(path, small_twin)
    assert list(tmp_path.iterdir()) == [path]
    check_frames(inspect_radioml(path))


def test_another_twin_that_appears_just_before_the_lock_is_had_is_not_overwritten(
    tmp_path: Path, small_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, others = tmp_path / "twin.hdf5", fcntl.flock, [request_twin(2, 8, "deepsig-2018", (0, 30))]

    def finish_first(descriptor: int, operation: int) -> None:
        if others:
            write_twin(path, others.pop())
        lock(descriptor, operation)

    monkeypatch.setattr("storage.twin.finished_cells.fcntl.flock", finish_first)
    with pytest.raises(DatasetError, match=r"is another twin \(seed 8 rather than 7\)"):
        write_twin(path, small_twin)
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_no_output_file(tmp_path: Path, small_twin: Twin) -> None:
    with pytest.raises(DatasetError, match=rf"output file is {tmp_path}, a folder; expected a file name"):
        write_twin(tmp_path, small_twin)
    for name in (".", "..", "/"):
        with pytest.raises(DatasetError, match="a folder; expected a file name"):
            count_finished_cells(Path(name), small_twin)


def test_twin_that_another_process_writes_is_left_to_it(tmp_path: Path, small_twin: Twin) -> None:
    path = tmp_path / "twin.hdf5"
    with record_path(path).open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match=rf"{path} is being written by another process"):
            write_twin(path, small_twin)
    assert write_twin(path, small_twin)


def test_twin_larger_than_the_disk_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"free space in .* is \d+\.\d [GM]iB; expected \d+\.\d GiB for 1000000000 frames per cell"
    ):
        write_twin(tmp_path / "new" / "twin.hdf5", request_twin(1_000_000_000, 7, "deepsig-2018"))
    assert list(tmp_path.iterdir()) == []


def test_small_twin_on_a_full_disk_is_told_in_mebibytes(
    tmp_path: Path, small_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=2**19)
    monkeypatch.setattr("storage.twin.file.shutil.disk_usage", lambda _: full)
    with pytest.raises(DatasetError, match=r"free space in .* is 512.0 KiB; expected 786.8 KiB for 2 frames per cell"):
        write_twin(tmp_path / "twin.hdf5", small_twin)


def test_all_problems_of_a_request_are_reported_at_once() -> None:
    with pytest.raises(DatasetError) as caught:
        request_twin(0, -1, "genuine", (30, 0))
    assert str(caught.value).splitlines() == [
        "frames per cell is 0; expected at least 1",
        "seed is -1; expected 0 to 2**63 - 1",
        f"profile is genuine; expected {' or '.join(SIGNAL_SETS)}",
        "SNR labels are 30,0; expected rising whole numbers of dB from -100 to 100, such as -20,0,30",
    ]


def _interrupt(path: Path, twin: Twin, after_cells: int) -> None:
    def stop(done: int, total: int) -> None:
        if done == after_cells * twin.frames_per_cell:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_twin(path, twin, on_progress=stop)


def _cells_made(path: Path, twin: Twin) -> int:
    reports: list[int] = []
    write_twin(path, twin, on_progress=lambda done, total: reports.append(done))
    return len(reports)
