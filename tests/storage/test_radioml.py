"""Checks of the RadioML reader on small files of the full layout, and of the split against the prescribed procedure."""

import ast
import math
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from storage.modulations import SNRS_DB
from storage.radioml import (
    DatasetError,
    check_frames,
    inspect_radioml,
    load_test_frames,
    load_training_frames,
    load_validation_frames,
    prescribed_split,
)

REPOSITORY = Path(__file__).parents[2]
N_CLASSES, N_SNRS, FRAMES_PER_CELL = 24, 26, 8
N_FRAMES = N_CLASSES * N_SNRS * FRAMES_PER_CELL


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of full layout with frames of two samples; I of a frame's first sample is the frame's index."""
    return write_file(tmp_path / "radioml.hdf5")


def write_file(path: Path, frames_per_cell: int = FRAMES_PER_CELL, frame_length: int = 2) -> Path:
    n_frames = N_CLASSES * N_SNRS * frames_per_cell
    frames = np.zeros((n_frames, frame_length, 2), np.float32)
    frames[:, 0, 0] = np.arange(n_frames)
    frames[:, 0, 1] = -np.arange(n_frames)
    labels = np.repeat(np.arange(N_CLASSES), N_SNRS * frames_per_cell)
    with h5py.File(path, "w") as h5:
        h5["X"] = frames
        h5["Y"] = np.eye(N_CLASSES, dtype=np.int64)[labels]
        h5["Z"] = np.tile(np.repeat(np.array(SNRS_DB), frames_per_cell), N_CLASSES)[:, None]
    return path


def replace(path: Path, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> None:
    with h5py.File(path, "r+") as h5:
        values = h5[name][...]
        del h5[name]
        h5[name] = change(values)


def follow_challenge_procedure(frames_per_cell: int) -> tuple[list[int], list[int]]:
    """Train and test indices as the rules of ITU PS-007 write them out."""
    train_indices: list[int] = []
    test_indices: list[int] = []
    np.random.seed(2018)
    for mod in range(24):
        for snr_idx in range(26):
            start_idx = 26 * frames_per_cell * mod + frames_per_cell * snr_idx
            indices_subclass = list(range(start_idx, start_idx + frames_per_cell))
            split = int(np.ceil(0.1 * frames_per_cell))
            np.random.shuffle(indices_subclass)
            train_indices.extend(indices_subclass[split:])
            test_indices.extend(indices_subclass[:split])
    return train_indices, test_indices


# ---- the layout


def test_layout_is_inferred_from_y_and_z(path: Path) -> None:
    file = inspect_radioml(path)
    assert (file.path, file.n_classes, file.snrs_db) == (path, 24, tuple(range(-20, 32, 2)))
    assert (file.frames_per_cell, file.frame_length, file.n_frames) == (8, 2, 24 * 26 * 8)
    assert file.profile is None


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32", "float64", "bool"])
def test_any_type_of_y_is_read(path: Path, dtype: str) -> None:
    replace(path, "Y", lambda y: y.astype(dtype))
    assert inspect_radioml(path).frames_per_cell == 8


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "float64"])
def test_any_type_of_z_is_read(path: Path, dtype: str) -> None:
    replace(path, "Z", lambda z: z.astype(dtype))
    assert inspect_radioml(path).snrs_db == tuple(SNRS_DB)


def test_z_without_its_second_axis_is_read(path: Path) -> None:
    replace(path, "Z", lambda z: z[:, 0])
    assert inspect_radioml(path).frames_per_cell == 8


@pytest.mark.parametrize("frames_per_cell", [3, 5, 20])
def test_any_number_of_frames_per_cell_is_read(tmp_path: Path, frames_per_cell: int) -> None:
    file = inspect_radioml(write_file(tmp_path / "other.hdf5", frames_per_cell))
    assert file.frames_per_cell == frames_per_cell


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere.hdf5 does not exist; expected a RadioML 2018.01A HDF5 file"):
        inspect_radioml(tmp_path / "nowhere.hdf5")


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is a folder; expected"):
        inspect_radioml(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 1000])
def test_file_that_is_not_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.hdf5").write_bytes(content)
    with pytest.raises(DatasetError, match=r"page.hdf5 is no readable HDF5 file"):
        inspect_radioml(tmp_path / "page.hdf5")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_truncated_file_is_refused(path: Path, kept: float) -> None:
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(DatasetError, match=r"is truncated at \d+ bytes; expected a whole file"):
        inspect_radioml(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(DatasetError, match="permission denied"):
        inspect_radioml(path)


@pytest.mark.parametrize("name", ["X", "Y", "Z"])
def test_missing_data_set_is_refused(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as h5:
        del h5[name]
    with pytest.raises(DatasetError, match=r"holds [XYZ], [XYZ]; expected data sets X, Y and Z"):
        inspect_radioml(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "X",
            lambda x: x.transpose(0, 2, 1)[:, :, :1],
            r"shape of X is \(4992, 2, 1\); expected \(frames, samples, 2\)",
        ),
        ("X", lambda x: x[:, 0], r"shape of X is \(4992, 2\); expected \(frames, samples, 2\)"),
        ("X", lambda x: x[:0], r"shape of X is \(0, 2, 2\); expected \(frames, samples, 2\)"),
        ("X", lambda x: x[:-1], r"shape of Y is \(4992, 24\); expected \(4991, 24\), one-hot"),
        ("X", lambda x: x.astype(np.complex64), r"type of X is complex64; expected float32"),
        ("Y", lambda y: y[:, :11], r"shape of Y is \(4992, 11\); expected \(4992, 24\), one-hot"),
        ("Y", lambda y: y.argmax(axis=1), r"shape of Y is \(4992,\); expected \(4992, 24\), one-hot"),
        ("Y", lambda y: y * 2, r"row 0 of Y is \[2, 0.*\]; expected one 1 and zeros"),
        ("Y", lambda y: y + 1 - y, r"row 0 of Y is \[1, 1.*\]; expected one 1 and zeros"),
        ("Z", lambda z: z[:-1], r"shape of Z is \(4991, 1\); expected \(4992, 1\), SNR in dB"),
        ("Z", lambda z: z + 0.5, r"row 0 of Z is -19.5; expected a whole number of dB"),
        (
            "Z",
            lambda z: np.where(z == -20, 1e300, z),
            r"row 0 of Z is 1e\+300; expected a whole number of dB from -200",
        ),
        ("Z", lambda z: z - 181, r"row 0 of Z is -201.0; expected a whole number of dB from -200 to 200"),
        ("Z", lambda z: z * np.nan, r"row 0 of Z is nan; expected a whole number of dB"),
        ("Z", lambda z: z.astype("S3"), r"type of Z is \|S3; expected numbers"),
    ],
)
def test_wrong_shape_type_or_value_is_refused(
    path: Path, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]], message: str
) -> None:
    replace(path, name, change)
    with pytest.raises(DatasetError, match=message):
        inspect_radioml(path)


def test_all_wrong_shapes_are_reported_at_once(path: Path) -> None:
    replace(path, "Y", lambda y: y[:, :11])
    replace(path, "Z", lambda z: z[:-1])
    with pytest.raises(DatasetError, match=r"(?s)shape of Y .*shape of Z "):
        inspect_radioml(path)


def test_order_by_snr_then_class_is_refused(path: Path) -> None:
    order = np.arange(N_FRAMES).reshape(N_CLASSES, N_SNRS, -1).transpose(1, 0, 2).ravel()
    replace(path, "Y", lambda y: y[order])
    replace(path, "Z", lambda z: z[order])
    with pytest.raises(DatasetError, match=r"frame 8 is 4ASK at -20 dB; expected OOK at -18 dB, as frames are ordered"):
        inspect_radioml(path)


def test_two_swapped_frames_are_found(path: Path) -> None:
    order = np.arange(N_FRAMES)
    order[[7, 8]] = [8, 7]
    replace(path, "Z", lambda z: z[order])
    with pytest.raises(DatasetError, match=r"frame 7 is OOK at -18 dB; expected OOK at -20 dB"):
        inspect_radioml(path)


def test_cells_of_unequal_size_are_refused(path: Path) -> None:
    for name in "XYZ":
        replace(path, name, lambda values: values[:-1])
    with pytest.raises(DatasetError, match=r"holds 4991 frames; expected a multiple of 624, 24 classes at 26 SNRs"):
        inspect_radioml(path)


# ---- not a number


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_frame_with_nan_or_infinity_is_named(path: Path, value: float) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][4500, 1, 1] = value
        h5["X"][4700, 1, 1] = value
    with pytest.raises(DatasetError, match=r"frame 4500 of X holds NaN or infinity"):
        check_frames(inspect_radioml(path))


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


def test_file_with_nan_is_not_remembered_as_clean(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5["X"][17, 0, 0] = np.nan
    for _ in range(2):
        with pytest.raises(DatasetError, match="frame 17 "):
            check_frames(inspect_radioml(path))


# ---- the split


def test_split_of_the_real_layout_is_the_prescribed_one() -> None:
    train, test = follow_challenge_procedure(4096)
    split = prescribed_split(24, 26, 4096, validation_fraction=0.1)
    assert len(split.test) == 255_840  # 24 * 26 * ceil(0.1 * 4096)
    np.testing.assert_array_equal(split.test, test)
    in_train_order = np.concatenate([split.validation.reshape(624, -1), split.train.reshape(624, -1)], axis=1)
    np.testing.assert_array_equal(in_train_order.ravel(), train)


def test_split_of_a_file_of_full_layout_is_the_prescribed_one(path: Path) -> None:
    train, test = follow_challenge_procedure(FRAMES_PER_CELL)
    file = inspect_radioml(path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, validation_fraction=0.1)
    frames = load_test_frames(file, split)
    np.testing.assert_array_equal(frames.iq[:, 0, 0], sorted(test))
    loaded = [load_training_frames(file, split, -20).iq[:, 0, 0], load_validation_frames(file, split).iq[:, 0, 0]]
    np.testing.assert_array_equal(np.sort(np.concatenate(loaded)), sorted(train))


@pytest.mark.parametrize("frames_per_cell", [3, 8, 64, 100])
@pytest.mark.parametrize("frames_limit", [None, 3, 7, 50, 5000])
@pytest.mark.parametrize("validation_fraction", [0.01, 0.1, 0.4])
def test_no_frame_is_in_two_parts(frames_per_cell: int, frames_limit: int | None, validation_fraction: float) -> None:
    split = prescribed_split(24, 26, frames_per_cell, validation_fraction, frames_limit)
    together = np.concatenate([split.train, split.validation, split.test])
    assert len(np.unique(together)) == len(together) == 624 * min(frames_per_cell, frames_limit or frames_per_cell)
    assert min(len(split.train), len(split.validation), len(split.test)) >= 624


def test_validation_is_the_first_part_of_each_cells_train_indices() -> None:
    train, _ = follow_challenge_procedure(100)
    split = prescribed_split(24, 26, 100, validation_fraction=0.15)
    first_of_each = np.array(train).reshape(624, 90)[:, : math.ceil(0.15 * 90)]
    np.testing.assert_array_equal(split.validation, first_of_each.ravel())


@pytest.mark.parametrize("frames_limit", [3, 8, 40, 99])
def test_sub_sampling_keeps_the_split(frames_limit: int) -> None:
    whole = prescribed_split(24, 26, 100, 0.1)
    sample = prescribed_split(24, 26, 100, 0.1, frames_limit)
    assert set(sample.train) <= set(whole.train)
    assert set(sample.validation) <= set(whole.validation)
    assert set(sample.test) <= set(whole.test)


def test_sub_sampling_keeps_the_proportions() -> None:
    sample = prescribed_split(24, 26, 4096, 0.1, frames_limit=64)
    assert (len(sample.train), len(sample.validation), len(sample.test)) == (624 * 51, 624 * 6, 624 * 7)


@pytest.mark.parametrize(("frames_per_cell", "frames_limit"), [(2, None), (64, 2)])
def test_cells_too_small_for_three_parts_are_refused(frames_per_cell: int, frames_limit: int | None) -> None:
    with pytest.raises(DatasetError, match=r"frames per cell is 2; expected at least 3"):
        prescribed_split(24, 26, frames_per_cell, 0.1, frames_limit)


def test_split_leaves_numpys_global_random_state_alone() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    prescribed_split(24, 26, 8, 0.1)
    assert np.random.random() == expected


# ---- frames in memory


def test_frames_carry_their_samples_labels_and_snrs(path: Path) -> None:
    file = inspect_radioml(path)
    frames = load_validation_frames(file, prescribed_split(24, 26, 8, 0.1))
    index = frames.iq[:, 0, 0].astype(np.int64)
    assert (frames.iq.shape, frames.iq.dtype.name, frames.iq.flags["C_CONTIGUOUS"]) == ((624, 2, 2), "float32", True)
    np.testing.assert_array_equal(frames.iq[:, 1, 0], -index)
    np.testing.assert_array_equal(frames.labels, index // (26 * 8))
    np.testing.assert_array_equal(frames.snr_db, index // 8 % 26 * 2 - 20)
    assert (frames.labels.dtype.name, frames.snr_db.dtype.name) == ("int64", "int64")


@pytest.mark.parametrize(("frames_per_cell", "frames_limit"), [(1000, 5), (1000, None), (300, 3)])
def test_large_cells_are_read_right(tmp_path: Path, frames_per_cell: int, frames_limit: int | None) -> None:
    file = inspect_radioml(write_file(tmp_path / "large.hdf5", frames_per_cell, frame_length=1))
    split = prescribed_split(24, 26, frames_per_cell, 0.1, frames_limit)
    np.testing.assert_array_equal(load_training_frames(file, split, -20).iq[:, 0, 0], np.sort(split.train))


def test_snr_filter_affects_training_only(path: Path) -> None:
    file = inspect_radioml(path)
    split = prescribed_split(24, 26, 8, 0.1)
    every_snr = set(SNRS_DB)
    assert set(load_training_frames(file, split, -6).snr_db) == {snr for snr in every_snr if snr >= -6}
    assert set(load_validation_frames(file, split).snr_db) == every_snr
    assert set(load_test_frames(file, split).snr_db) == every_snr


def test_snr_filter_that_leaves_nothing_is_refused(path: Path) -> None:
    with pytest.raises(DatasetError, match=r"min_training_snr_db is 31; expected at most 30"):
        load_training_frames(inspect_radioml(path), prescribed_split(24, 26, 8, 0.1), 31)


def test_only_load_test_frames_reads_the_test_part() -> None:
    packages = ("spaces", "storage", "workers", "search", "fpga", "dashboards")
    files = [path for package in packages for path in sorted((REPOSITORY / package).rglob("*.py"))]
    assert len(files) > 20
    readers = [(path.relative_to(REPOSITORY).as_posix(), name) for path in files for name in _readers_of_test(path)]
    assert readers == [("storage/radioml.py", "load_test_frames")]


def _readers_of_test(path: Path) -> list[str]:
    """Top-level statements that use an attribute called `test`: the split is the only thing that has one."""
    return [
        getattr(statement, "name", ast.unparse(statement))
        for statement in ast.parse(path.read_text()).body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and node.attr == "test"
    ]
