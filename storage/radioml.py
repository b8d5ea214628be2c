"""The RadioML 2018.01A file: its HDF5 layout, the prescribed split, and frames in memory."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import platformdirs
from numpy.typing import NDArray

from storage.modulations import CLASS_NAMES

Indices = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with (done, total) frames."""

TEST_FRACTION = 0.1
"""Part of every cell that is test (ITU PS-007)."""

SPLIT_SEED = 2018
"""Seed of the prescribed split (ITU PS-007)."""

_SLAB_FRAMES = 4096
"""Frames read at once: 32 MiB of 1024-sample frames."""

_READ_AHEAD_FRAMES = 64
"""Frames read and dropped rather than sought over: half a MiB."""


_MAX_SNR_DB = 200
"""More than float32 samples can show, in either direction."""


class DatasetError(Exception):
    """The data file cannot be used; the message says what it is, what is expected, and where."""


@dataclass(frozen=True)
class RadioMLFile:
    """A file of the right layout: frames ordered by class, then SNR, in cells of equal size."""

    path: Path
    n_classes: int
    snrs_db: tuple[int, ...]
    frames_per_cell: int
    frame_length: int
    n_frames: int
    profile: str | None
    """How a synthetic twin was made; None for any other file."""


@dataclass(frozen=True)
class Split:
    """Frame indices of the three parts, cell after cell; no index is in two of them."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Frames:
    """Frames in memory, in file order."""

    iq: NDArray[np.float32]
    """(n, 2, frame_length): I, then Q."""
    labels: Indices
    """(n,): index into CLASS_NAMES."""
    snr_db: Indices
    """(n,): SNR label."""


def inspect_radioml(path: Path) -> RadioMLFile:
    """Read and check the layout, X's values excepted (`check_frames` does those); any integer or float type of Y and Z.

    Raises DatasetError for a file that is missing, not HDF5, truncated, wrongly shaped or wrongly ordered.
    """
    with _open_file(path) as h5:
        frames, one_hot, snr_column = (_find_dataset(h5, path, name) for name in ("X", "Y", "Z"))
        _check_shapes(path, frames, one_hot, snr_column)
        labels = _read_labels(path, one_hot)
        snr_db = _read_snrs(path, snr_column)
        profile = h5.attrs.get("profile")
        frame_length = int(frames.shape[1])
    snrs_db = tuple(int(snr) for snr in np.unique(snr_db))
    frames_per_cell = _check_order(path, labels, snr_db, snrs_db)
    return RadioMLFile(
        path=path,
        n_classes=len(CLASS_NAMES),
        snrs_db=snrs_db,
        frames_per_cell=frames_per_cell,
        frame_length=frame_length,
        n_frames=len(labels),
        profile=None if profile is None else str(profile),
    )


def check_frames(file: RadioMLFile, on_progress: Progress | None = None) -> None:
    """Raise DatasetError at the first frame with a NaN or an infinity.

    A file found clean is remembered in the cache folder and not read again unless it changes.
    """
    marker = _clean_marker(file.path)
    if marker.exists():
        return
    with _open_file(file.path) as h5:
        for first in range(0, file.n_frames, _SLAB_FRAMES):
            slab = _read_slab(h5, file.path, first, min(first + _SLAB_FRAMES, file.n_frames))
            finite = np.isfinite(slab).all(axis=(1, 2))
            if not finite.all():
                frame = first + int(np.argmin(finite))
                raise DatasetError(f"{file.path}: frame {frame} of X holds NaN or infinity; expected finite samples")
            if on_progress is not None:
                on_progress(first + len(slab), file.n_frames)
    with contextlib.suppress(OSError):  # a read-only cache folder costs another scan next time, nothing else
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def prescribed_split(
    n_classes: int, n_snrs: int, frames_per_cell: int, validation_fraction: float, frames_limit: int | None = None
) -> Split:
    """The split of ITU PS-007: per cell, the seed-2018 shuffle's first ceil(10 %) are test, the rest train.

    Validation is the first ceil(validation_fraction) of each cell's train part. `frames_limit` keeps so many frames of
    each cell, the first of every part, in the same proportions: no frame changes its part.
    Raises DatasetError where a cell is too small to give each part a frame.
    """
    sizes = _count_parts(frames_per_cell, validation_fraction)
    kept = _count_parts(min(frames_limit or frames_per_cell, frames_per_cell), validation_fraction)
    random = np.random.RandomState(SPLIT_SEED)  # what np.random.seed(2018) seeds
    train, validation, test = [], [], []
    for first in range(0, n_classes * n_snrs * frames_per_cell, frames_per_cell):
        cell = np.arange(first, first + frames_per_cell, dtype=np.int64)
        random.shuffle(cell)
        test.append(cell[: kept.n_test])
        validation.append(cell[sizes.n_test :][: kept.n_validation])
        train.append(cell[sizes.n_test + sizes.n_validation :][: kept.n_train])
    return Split(np.concatenate(train), np.concatenate(validation), np.concatenate(test))


def select_training(file: RadioMLFile, split: Split, min_snr_db: int) -> Indices:
    """The train part at SNR labels of at least `min_snr_db`; raises DatasetError where none is left."""
    indices = split.train[_snr_labels(file, split.train) >= min_snr_db]
    if not len(indices):
        raise DatasetError(
            f"dataset.min_training_snr_db is {min_snr_db}; expected at most {max(file.snrs_db)}, "
            f"the highest SNR of {file.path}"
        )
    return indices


def load_training_frames(file: RadioMLFile, split: Split, min_snr_db: int) -> Frames:
    """The frames of `select_training`."""
    return _load_frames(file, select_training(file, split, min_snr_db))


def load_validation_frames(file: RadioMLFile, split: Split) -> Frames:
    """The validation part, all SNRs: what choices are made on."""
    return _load_frames(file, split.validation)


def load_test_frames(file: RadioMLFile, split: Split) -> Frames:
    """The test part, all SNRs; the only reader of it, for reports and the promotion gate, never for a choice."""
    return _load_frames(file, split.test)


def cache_folder() -> Path:
    """Where files that can be made again lie, under the user's cache folder."""
    return platformdirs.user_cache_path("fpga-modulation-search")


def _open_file(path: Path) -> h5py.File:
    if not path.exists():
        raise DatasetError(
            f"dataset file {path} does not exist; expected a RadioML 2018.01A HDF5 file "
            "(with neither dataset.path nor RADIOML_2018_01A set, a synthetic twin is used)"
        )
    if path.is_dir():
        raise DatasetError(f"dataset file {path} is a folder; expected a RadioML 2018.01A HDF5 file")
    try:
        return h5py.File(path, "r", locking=False)  # data files are never written in place; NFS often cannot lock
    except PermissionError as error:
        raise DatasetError(f"dataset file {path} cannot be opened: permission denied") from error
    except OSError as error:
        if "truncated" in str(error):
            size = path.stat().st_size
            raise DatasetError(
                f"dataset file {path} is truncated at {size} bytes; expected a whole file: download it again"
            ) from error
        raise DatasetError(f"dataset file {path} is no readable HDF5 file; expected RadioML 2018.01A") from error


def _find_dataset(h5: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = h5.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{path} holds {', '.join(sorted(h5)) or 'nothing'}; expected data sets X, Y and Z")
    return found


def _check_shapes(path: Path, frames: h5py.Dataset, one_hot: h5py.Dataset, snr_column: h5py.Dataset) -> None:
    n_frames = frames.shape[0] if frames.ndim else 0
    n_classes = len(CLASS_NAMES)
    problems = []
    if frames.ndim != 3 or frames.shape[2] != 2 or not all(frames.shape):
        problems.append(f"shape of X is {frames.shape}; expected (frames, samples, 2)")
    if frames.dtype.kind != "f":
        problems.append(f"type of X is {frames.dtype}; expected float32")
    if one_hot.shape != (n_frames, n_classes):
        problems.append(f"shape of Y is {one_hot.shape}; expected {(n_frames, n_classes)}, one-hot")
    if snr_column.shape not in {(n_frames, 1), (n_frames,)}:
        problems.append(f"shape of Z is {snr_column.shape}; expected {(n_frames, 1)}, SNR in dB")
    for name, column in (("Y", one_hot), ("Z", snr_column)):
        if column.dtype.kind not in "biuf":
            problems.append(f"type of {name} is {column.dtype}; expected numbers")
    if problems:
        raise DatasetError("\n".join(f"{path}: {problem}" for problem in problems))


def _read_labels(path: Path, one_hot: h5py.Dataset) -> Indices:
    labels = np.empty(len(one_hot), np.int64)
    for first in range(0, len(one_hot), 16 * _SLAB_FRAMES):
        slab = one_hot[first : first + 16 * _SLAB_FRAMES]
        is_one_hot = ((slab == 0) | (slab == 1)).all(axis=1) & (np.count_nonzero(slab, axis=1) == 1)
        if not is_one_hot.all():
            row = int(np.argmin(is_one_hot))
            raise DatasetError(f"{path}: row {first + row} of Y is {slab[row].tolist()}; expected one 1 and zeros")
        labels[first : first + len(slab)] = slab.argmax(axis=1)
    return labels


def _read_snrs(path: Path, snr_column: h5py.Dataset) -> Indices:
    values = snr_column[...].reshape(-1).astype(np.float64)
    is_snr = (np.abs(values) <= _MAX_SNR_DB) & (values == np.rint(values))
    if not is_snr.all():
        row = int(np.argmin(is_snr))
        raise DatasetError(
            f"{path}: row {row} of Z is {values[row]}; "
            f"expected a whole number of dB from -{_MAX_SNR_DB} to {_MAX_SNR_DB}"
        )
    return np.asarray(values, np.int64)


def _check_order(path: Path, labels: Indices, snr_db: Indices, snrs_db: tuple[int, ...]) -> int:
    """The frames per cell of a file ordered by class, then SNR."""
    n_cells = len(CLASS_NAMES) * len(snrs_db)
    frames_per_cell, left_over = divmod(len(labels), n_cells)
    if left_over:
        raise DatasetError(
            f"{path} holds {len(labels)} frames; expected a multiple of {n_cells}, "
            f"{len(CLASS_NAMES)} classes at {len(snrs_db)} SNRs in cells of equal size"
        )
    cell = np.arange(len(labels)) // frames_per_cell
    expected_label, expected_snr = cell // len(snrs_db), np.array(snrs_db)[cell % len(snrs_db)]
    is_right = (labels == expected_label) & (snr_db == expected_snr)
    if not is_right.all():
        row = int(np.argmin(is_right))
        raise DatasetError(
            f"{path}: frame {row} is {CLASS_NAMES[labels[row]]} at {snr_db[row]} dB; expected "
            f"{CLASS_NAMES[expected_label[row]]} at {expected_snr[row]} dB, as frames are ordered by class, "
            f"then rising SNR, {frames_per_cell} of each"
        )
    return frames_per_cell


def hash_frames(file: RadioMLFile) -> str:
    """Sixteen hexadecimal digits that tell one data set from another, wherever the file lies.

    Made from the number of frames and 64 frames spread over the file: the whole of it would take minutes.
    """
    digest = hashlib.sha256(str(file.n_frames).encode())
    with _open_file(file.path) as h5:
        for index in np.unique(np.linspace(0, file.n_frames - 1, 64).round().astype(np.int64)):
            digest.update(_read_slab(h5, file.path, int(index), int(index) + 1).tobytes())
    return digest.hexdigest()[:16]


def _clean_marker(path: Path) -> Path:
    """Exists once this very file was found free of NaN: it is named by path, size and time of change."""
    state = path.stat()
    key = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    return cache_folder() / "checked" / hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class _PartSizes:
    n_train: int
    n_validation: int
    n_test: int


def _count_parts(frames_per_cell: int, validation_fraction: float) -> _PartSizes:
    n_test = math.ceil(TEST_FRACTION * frames_per_cell)
    n_validation = math.ceil(validation_fraction * (frames_per_cell - n_test))
    n_train = frames_per_cell - n_test - n_validation
    if min(n_train, n_validation, n_test) < 1:
        raise DatasetError(
            f"frames per cell is {frames_per_cell}; expected at least 3: one each to train, validate and test"
        )
    return _PartSizes(n_train, n_validation, n_test)


def _labels(file: RadioMLFile, indices: Indices) -> Indices:
    return np.asarray(indices // (len(file.snrs_db) * file.frames_per_cell), np.int64)


def _snr_labels(file: RadioMLFile, indices: Indices) -> Indices:
    cell = indices // file.frames_per_cell
    return np.array(file.snrs_db, np.int64)[cell % len(file.snrs_db)]


def _load_frames(file: RadioMLFile, indices: Indices) -> Frames:
    rows = np.sort(indices)
    iq = np.empty((len(rows), 2, file.frame_length), np.float32)
    with _open_file(file.path) as h5:
        for start, stop in _runs(rows):
            slab = _read_slab(h5, file.path, int(rows[start]), int(rows[stop - 1]) + 1)
            iq[start:stop] = slab[rows[start:stop] - rows[start]].transpose(0, 2, 1)
    return Frames(iq=iq, labels=_labels(file, rows), snr_db=_snr_labels(file, rows))


def _runs(rows: Indices) -> Iterator[tuple[int, int]]:
    """Positions [start, stop) in sorted `rows` for one contiguous read: no wide gap within, no more than a slab."""
    start = 0
    for position in range(1, len(rows) + 1):
        is_end = position == len(rows) or rows[position] - rows[position - 1] > _READ_AHEAD_FRAMES
        if is_end or rows[position] - rows[start] >= _SLAB_FRAMES:
            yield start, position
            start = position


def _read_slab(h5: h5py.File, path: Path, first: int, stop: int) -> NDArray[np.float32]:
    """Frames [first, stop) of X: (stop - first, frame_length, 2)."""
    try:
        return np.asarray(h5["X"][first:stop], np.float32)
    except OSError as error:
        raise DatasetError(f"{path}: frames {first} to {stop - 1} of X cannot be read; {error}") from error
