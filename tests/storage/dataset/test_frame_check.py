"""Every frame is read through once: samples that are no numbers, rows of Y that are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.dataset import frame_check
from storage.dataset.frame_check import check_frames
from storage.dataset.radioml import DatasetError, inspect_radioml
from tests.storage.layout_files import N_FRAMES, write_file


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "radioml.hdf5")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_frame_with_nan_or_infinity_is_named(path: Path, value: float) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][4500, 1, 1] = value
        h5["X"][4700, 1, 1] = value
    with pytest.raises(DatasetError, match=r"frame 4500 of X holds NaN or infinity"):
        check_frames(inspect_radioml(path))


# ---- frames without a signal


@pytest.mark.parametrize("value", [0, -0.0, 1.5, 1e-42])
def test_first_frame_of_equal_samples_is_named(path: Path, value: float) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][4500:4700] = value
    message = r"frame 4500 of X holds no signal, all its samples are .*; expected frames that were written"
    with pytest.raises(DatasetError, match=message):
        check_frames(inspect_radioml(path))


@pytest.mark.parametrize(("n_nan", "message"), [(1, "frame 17 of X holds NaN"), (2, "frame 18 of X holds no signal")])
def test_of_two_unfit_frames_the_first_is_named(path: Path, n_nan: int, message: str) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][16 + n_nan] = 0
        h5["X"][17 if n_nan == 1 else 19] = np.nan
    with pytest.raises(DatasetError, match=message):
        check_frames(inspect_radioml(path))


@pytest.mark.parametrize("n_written", [0, 100])
@pytest.mark.parametrize(
    "options",
    [{"chunks": (16, 2, 2)}, {"chunks": (16, 2, 2), "compression": "gzip"}, {"fillvalue": 7.0, "chunks": (16, 2, 2)}],
    ids=["chunked", "compressed", "fill value"],
)
def test_first_frame_that_was_never_written_is_named(path: Path, n_written: int, options: dict[str, object]) -> None:
    with h5py.File(path, "r+") as h5:
        samples = h5["X"][...]
        del h5["X"]
        h5.create_dataset("X", samples.shape, "f4", **options)[:n_written] = samples[:n_written]
    with pytest.raises(DatasetError, match=rf"frame {n_written} of X holds no signal"):
        check_frames(inspect_radioml(path))


def test_contiguous_samples_without_a_place_in_the_file_are_found(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        del h5["X"]
        h5.create_dataset("X", (N_FRAMES, 2, 2), "f4")
    with pytest.raises(DatasetError, match="frame 0 of X holds no signal"):
        check_frames(inspect_radioml(path))


def test_frames_of_which_a_part_was_written_are_found(path: Path) -> None:
    """The chunks hold one sample of each frame; the other's were never written."""
    with h5py.File(path, "r+") as h5:
        samples = h5["X"][...]
        del h5["X"]
        h5.create_dataset("X", samples.shape, "f4", chunks=(N_FRAMES, 1, 2))[:, 0] = samples[:, 0]
    with pytest.raises(DatasetError, match=f"X was never written, or only in part; expected all {N_FRAMES} rows"):
        check_frames(inspect_radioml(path))


def test_file_that_an_earlier_version_remembered_is_scanned_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][17] = 0
    file = inspect_radioml(path)
    with monkeypatch.context() as earlier:
        earlier.setattr(frame_check, "_CHECKS", "finite samples, labels")
        marker = frame_check._clean_marker(path)
    marker.parent.mkdir(parents=True)
    marker.touch()
    with pytest.raises(DatasetError, match="frame 17 of X holds no signal"):
        check_frames(file)


# ---- files that were checked before


def test_clean_file_is_scanned_once_until_it_changes(path: Path) -> None:
    file = inspect_radioml(path)
    reports: list[tuple[int, int]] = []
    check_frames(file, on_progress=lambda done, total: reports.append((done, total)))
    check_frames(file, on_progress=lambda done, total: reports.append((done, total)))
    assert reports == [(4096, N_FRAMES), (N_FRAMES, N_FRAMES)]
    with h5py.File(path, "r+") as h5:
        h5["X"][17, 0, 0] = np.nan
    with pytest.raises(DatasetError, match="frame 17 "):
        check_frames(file)


def test_file_that_changed_within_its_size_and_time_is_scanned_again(path: Path) -> None:
    check_frames(inspect_radioml(path))
    state = path.stat()
    with h5py.File(path, "r+") as h5:
        h5["X"][17, 0, 0] = np.nan
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    with pytest.raises(DatasetError, match="frame 17 "):
        check_frames(inspect_radioml(path))


def test_file_with_nan_is_not_remembered_as_clean(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][17, 0, 0] = np.nan
    for _ in range(2):
        with pytest.raises(DatasetError, match="frame 17 "):
            check_frames(inspect_radioml(path))


# ---- labels


def test_wrong_row_in_the_middle_of_a_cell_is_found(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5["Y"][4499] = np.roll(h5["Y"][4499], 1)
    with pytest.raises(DatasetError, match=r"frame 4499 is GMSK at 12 dB; expected FM at 12 dB, as frames are"):
        check_frames(inspect_radioml(path))


def test_row_of_two_classes_in_the_middle_of_a_cell_is_found(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5["Y"][3, 5] = 1
    with pytest.raises(DatasetError, match=r"row 3 of Y is \[1, 0, 0, 0, 0, 1, .*\]; expected one 1 and zeros"):
        check_frames(inspect_radioml(path))
