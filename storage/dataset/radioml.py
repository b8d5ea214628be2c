"""The layout of RadioML 2018.01A as an HDF5 file: opened, checked, read and mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import platformdirs
from numpy.typing import NDArray

from storage.signals.radioml_classes import CLASS_NAMES

Indices = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with (done, total) frames."""

SLAB_FRAMES = 4096
"""Frames read at once where all are: 32 MiB of 1024-sample frames."""

_EXPECTED_WITHIN = "expected all data in the file that is named"

_MAX_SNR_DB = 200
"""More than float32 samples can represent, in either direction."""


class DatasetError(Exception):
    """The data file cannot be used; the message says what it is, what is expected, and where."""


@dataclass(frozen=True)
class RadioMLFile:
    """A file of the right layout: frames ordered by class, then rising SNR, in cells of equal size."""

    path: Path
    class_names: tuple[str, ...]
    """In label order."""
    snrs_db: tuple[int, ...]
    """SNR labels, rising."""
    frames_per_cell: int
    frame_length: int
    """Complex samples per frame."""
    n_frames: int
    profile: str | None
    """How a synthetic twin was made; None for any other file."""

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def labels(self, rows: Indices) -> Indices:
        """Index into `class_names` of each row of X."""
        return np.asarray(rows // (len(self.snrs_db) * self.frames_per_cell), np.int64)

    def snr_labels(self, rows: Indices) -> Indices:
        """SNR label in dB of each row of X."""
        return np.array(self.snrs_db, np.int64)[rows // self.frames_per_cell % len(self.snrs_db)]


def inspect_radioml(path: Path) -> RadioMLFile:
    """Read and check the layout: shapes, the whole of Z, and Y at both ends of each cell; any number type of Y and Z.

    Takes below 2 s also for the genuine 2,555,904 frames, where Y and Z are contiguous as they are there; compressed
    ones take as long as they take to unpack. What is left, the rest of Y and X's values, `check_frames` does.
    Raises DatasetError for a file that is missing, not HDF5, truncated, linked to others, wrongly shaped or ordered.
    """
    with open_file(path) as h5:
        frames, one_hot, snr_column = (_find_dataset(h5, path, name) for name in ("X", "Y", "Z"))
        _check_shapes(path, frames, one_hot, snr_column)
        for name in ("Y", "Z"):
            check_is_written(h5, path, name)
        snr_db = _read_snrs(path, snr_column)
        class_names = _read_class_names(path, h5, one_hot.shape[1])
        snrs_db = tuple(int(snr) for snr in np.unique(snr_db))
        profile = h5.attrs.get("profile")
        file = RadioMLFile(
            path=path,
            class_names=class_names,
            snrs_db=snrs_db,
            frames_per_cell=_count_frames_per_cell(path, len(snr_db), len(class_names), len(snrs_db)),
            frame_length=int(frames.shape[1]),
            n_frames=len(snr_db),
            profile=None if profile is None else str(profile),
        )
        _check_snr_order(file, snr_db, one_hot)
        for first in range(0, file.n_frames + 1, file.frames_per_cell):  # the end of one cell, the start of the next
            check_labels(file, h5, max(0, first - 1), min(first + 1, file.n_frames))
    return file


def check_labels(file: RadioMLFile, h5: h5py.File, first: int, stop: int) -> None:
    """Raise DatasetError at the first of rows [first, stop) of Y that is not its cell's class, one-hot."""
    slab = h5["Y"][first:stop]
    is_one_hot = ((slab == 0) | (slab == 1)).all(axis=1) & (np.count_nonzero(slab, axis=1) == 1)
    if not is_one_hot.all():
        row = int(np.argmin(is_one_hot))
        raise DatasetError(f"{file.path}: row {first + row} of Y is {slab[row].tolist()}; expected one 1 and zeros")
    rows = np.arange(first, stop)
    labels, expected = slab.argmax(axis=1), file.labels(rows)
    if (labels != expected).any():
        row = int(np.argmax(labels != expected))
        raise _order_error(file, first + row, int(labels[row]), int(file.snr_labels(rows[row])))


def check_is_written(h5: h5py.File, path: Path, name: str) -> None:
    """Raise DatasetError where rows of X, Y or Z have no place in the file; HDF5 reads them as zeros."""
    if h5[name].id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise DatasetError(f"{path}: {name} was never written, or only in part; expected all {len(h5[name])} rows")


def read_slab(h5: h5py.File, path: Path, first: int, stop: int) -> NDArray[np.float32]:
    """Frames [first, stop) of X: (stop - first, frame_length, 2)."""
    try:
        return np.asarray(h5["X"][first:stop], np.float32)
    except OSError as error:
        raise DatasetError(f"{path}: frames {first} to {stop - 1} of X cannot be read; {error}") from error


def map_samples(file: RadioMLFile) -> NDArray[np.float32] | None:
    """X as it lies in the file, (n_frames, frame_length, 2), mapped read-only: no memory but the page cache, shared.

    None where X does not lie there as such: chunked, compressed, of another type, or never written.
    """
    with open_file(file.path) as h5:
        frames = h5["X"]
        offset = frames.id.get_offset()  # None but for contiguous samples
        if offset is None or not frames.id.get_type().equal(h5py.h5t.IEEE_F32LE):
            return None
        shape = frames.shape
    return np.memmap(file.path, np.dtype("<f4"), "r", offset, shape).view(np.ndarray)


def hash_frames(file: RadioMLFile) -> str:
    """Sixteen hexadecimal digits of samples, the same wherever the file lies.

    Made from the number of frames and 64 frames spread over the file: the whole of it would take minutes.
    """
    digest = hashlib.sha256(str(file.n_frames).encode())
    digest.update(read_spread(file).tobytes())
    return digest.hexdigest()[:16]


def read_spread(file: RadioMLFile) -> NDArray[np.float32]:
    """64 frames, or all of fewer, spread evenly over classes and SNRs: (n, frame_length, 2)."""
    rows = np.unique(np.linspace(0, file.n_frames - 1, 64).round().astype(np.int64))
    with open_file(file.path) as h5:
        return np.concatenate([read_slab(h5, file.path, int(row), int(row) + 1) for row in rows])


def describe_state(path: Path) -> str:
    """The state of a file on this machine: size, times of change, inode. A file that replaces it has another.

    Raises DatasetError where it is missing.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise _missing_error(path) from None
    return f"{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}|{state.st_ino}"


def cache_folder() -> Path:
    """The folder for files that can be made again, under the user's cache folder."""
    return platformdirs.user_cache_path("fpga-modulation-search")


def open_file(path: Path) -> h5py.File:
    """The file for reading. Raises DatasetError where it is missing, no HDF5 file, truncated or not to be read.

    So it does where X, Y or Z lies in another file: no file is opened but the one that was named.
    """
    h5 = _open_hdf5(path)
    try:
        for name in ("X", "Y", "Z"):
            _check_lies_within(h5, path, name)
    except BaseException:
        h5.close()
        raise
    return h5


def _open_hdf5(path: Path) -> h5py.File:
    if not path.exists():
        raise _missing_error(path)
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


def _check_lies_within(h5: h5py.File, path: Path, name: str) -> None:
    """Raise DatasetError where a data set, or what it is made of, lies outside of the file. Opens no other file."""
    links, key = h5.id.links, name.encode()
    if not links.exists(key):
        return
    kind = links.get_info(key).type
    target = "" if kind == h5py.h5l.TYPE_HARD else f"a link to {_describe_target(links, key)}"
    if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
        raise DatasetError(f"{path}: {name} is {target}, outside of the file; {_EXPECTED_WITHIN}")
    one_link = h5py.h5p.create(h5py.h5p.LINK_ACCESS)
    one_link.set_nlinks(1)  # a soft link may be followed; one out of the file would be the second
    try:
        found = h5py.h5o.open(h5.id, key, one_link)
    except KeyError as error:
        problem = f"is {target}, which is not in the file" if target else f"cannot be opened, {error}"
        raise DatasetError(f"{path}: {name} {problem}; {_EXPECTED_WITHIN}") from error
    if isinstance(found, h5py.h5d.DatasetID):
        creation = found.get_create_plist()
        if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count():
            raise DatasetError(f"{path}: the values of {name} lie in other files; {_EXPECTED_WITHIN}")


def _describe_target(links: h5py.h5g.LinkProxy, key: bytes) -> str:
    target = links.get_val(key)  # of a link out of the file, its name and the place there
    parts = target if isinstance(target, tuple) else (target,)
    return ":".join(part.decode(errors="replace") for part in parts)


def _missing_error(path: Path) -> DatasetError:
    return DatasetError(
        f"dataset file {path} does not exist; expected a RadioML 2018.01A HDF5 file "
        "(with neither dataset.path nor RADIOML_2018_01A set, a synthetic twin is used)"
    )


def _find_dataset(h5: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = h5.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{path} holds {', '.join(sorted(h5)) or 'nothing'}; expected data sets X, Y and Z")
    return found


def _check_shapes(path: Path, frames: h5py.Dataset, one_hot: h5py.Dataset, snr_column: h5py.Dataset) -> None:
    n_frames = frames.shape[0] if frames.ndim else 0
    problems = []
    if frames.ndim != 3 or frames.shape[2] != 2 or not all(frames.shape):
        problems.append(f"shape of X is {frames.shape}; expected (frames, samples, 2)")
    if frames.dtype.kind != "f":
        problems.append(f"type of X is {frames.dtype}; expected float32")
    if one_hot.ndim != 2 or one_hot.shape[0] != n_frames or one_hot.shape[1] < 2:
        problems.append(f"shape of Y is {one_hot.shape}; expected ({n_frames}, classes), one-hot, at least 2 classes")
    if snr_column.shape not in {(n_frames, 1), (n_frames,)}:
        problems.append(f"shape of Z is {snr_column.shape}; expected {(n_frames, 1)}, SNR in dB")
    for name, column in (("Y", one_hot), ("Z", snr_column)):
        if column.dtype.kind not in "biuf":
            problems.append(f"type of {name} is {column.dtype}; expected numbers")
    if problems:
        raise DatasetError("\n".join(f"{path}: {problem}" for problem in problems))


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


def _read_class_names(path: Path, h5: h5py.File, n_classes: int) -> tuple[str, ...]:
    """The attribute `class_names`; without it, RadioML 2018.01A's own for 24 classes, and numbers for any other."""
    if "class_names" not in h5.attrs:
        return CLASS_NAMES if n_classes == len(CLASS_NAMES) else tuple(f"class {label}" for label in range(n_classes))
    names = np.atleast_1d(h5.attrs["class_names"]).tolist()
    class_names = tuple(_decode(name) for name in names)
    if len(class_names) != n_classes or len(set(class_names)) != n_classes:
        raise DatasetError(
            f"{path}: attribute class_names is {', '.join(class_names)}; "
            f"expected {n_classes} different names, one for each column of Y"
        )
    return class_names


def _decode(name: object) -> str:
    """Bytes that are no UTF-8 are shown as such: h5py gives them as lone surrogates, which cannot be printed."""
    text = name if isinstance(name, bytes) else str(name).encode(errors="surrogateescape")
    return text.decode(errors="replace")


def _count_frames_per_cell(path: Path, n_frames: int, n_classes: int, n_snrs: int) -> int:
    frames_per_cell, left_over = divmod(n_frames, n_classes * n_snrs)
    if left_over or not frames_per_cell:
        raise DatasetError(
            f"{path} holds {n_frames} frames; expected a multiple of {n_classes * n_snrs}, "
            f"{n_classes} classes at {n_snrs} SNRs in cells of equal size"
        )
    return frames_per_cell


def _check_snr_order(file: RadioMLFile, snr_db: Indices, one_hot: h5py.Dataset) -> None:
    is_right = snr_db == file.snr_labels(np.arange(file.n_frames))
    if not is_right.all():
        row = int(np.argmin(is_right))
        raise _order_error(file, row, int(np.argmax(one_hot[row])), int(snr_db[row]))


def _order_error(file: RadioMLFile, row: int, label: int, snr_db: int) -> DatasetError:
    at = np.array([row])
    return DatasetError(
        f"{file.path}: frame {row} is {file.class_names[label]} at {snr_db} dB; expected "
        f"{file.class_names[int(file.labels(at)[0])]} at {int(file.snr_labels(at)[0])} dB, as frames are ordered by "
        f"class, then rising SNR, {file.frames_per_cell} of each"
    )
