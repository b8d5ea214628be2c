"""Frames in a file of their own, made once for all processes: the codes of an input quantizer, or samples."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from spaces.blocks import FEATURE_CHANNELS, InputQuantizer
from storage.artifacts import write_by_rename
from storage.byte_sizes import describe_bytes
from storage.dataset.features import compute_features
from storage.dataset.input_codes import encode
from storage.dataset.radioml import (
    SLAB_FRAMES,
    DatasetError,
    Indices,
    Progress,
    RadioMLFile,
    cache_folder,
    hash_frames,
    open_file,
    read_slab,
)

logger = logging.getLogger(__name__)

Stored = NDArray[np.int8 | np.float32]

MAX_CACHES = 16
"""Files of codes of the same frames in one folder: input quantizers have seven bit widths, 2 to 8, and four features.

Of a study that draws its clip from a range, each trial would make another.
"""

_READ_AHEAD_FRAMES = 64
"""Frames read and dropped rather than sought over: half a MiB."""


class CacheError(DatasetError):
    """The frames cannot be kept in a file of their own."""


def open_cache(
    file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None, on_progress: Progress | None = None
) -> Stored:
    """The frames of the sorted `rows`, (n, channels, frame_length), mapped read-only: int8 codes, or float32 samples.

    The quantizer's codes are of the features that it is given.

    The file is made at the first call, beside the data file, or in the user's cache folder where that folder cannot be
    written. Of several processes that ask at once, one makes it and the others wait. Raises CacheError where it cannot
    be made or would take more than half of the free disk, and what the data file raises. The first file that is made
    after the data file changed removes the older ones; processes that have one mapped keep it.
    """
    state = _hash_state(file)
    name = f"{state}-{_name_frames(rows, quantizer)}.npy"
    shape = _stored_shape(file, rows, quantizer)
    folders = cache_folders(file)
    for folder in folders:
        stored = _map_cache(folder / name, shape, quantizer)
        if stored is not None:
            return stored
    try:
        with _lock_first(folders) as folder:
            path = folder / name
            stored = _map_cache(path, shape, quantizer)  # another process may have made it meanwhile
            if stored is None:
                _remove_outdated(folder, state)
                _check_room(path, shape, quantizer)
                _write_cache(path, file, rows, quantizer, on_progress)
                stored = _map_cache(path, shape, quantizer)
    except OSError as error:
        raise CacheError(
            f"the frames of {file.path} cannot be kept in {' or '.join(map(str, folders))}: {error.strerror or error}; "
            "expected a folder that can be written, with room (XDG_CACHE_HOME names another)"
        ) from error
    assert stored is not None, "it was written under the lock, and appears whole or not at all"
    return stored


def cache_folders(file: RadioMLFile) -> tuple[Path, Path]:
    """Where the caches of a data file may lie: beside it, and under the user's cache folder."""
    path = file.path.resolve()
    place = hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]
    return path.with_name(f"{path.name}.frames"), cache_folder() / "frames" / f"{path.name}-{place}"


def read_rows(file: RadioMLFile, rows: Indices) -> NDArray[np.float32]:
    """The frames of the sorted `rows`, (n, 2, frame_length), in this process's own memory."""
    samples = np.empty((len(rows), 2, file.frame_length), np.float32)
    for start, slab in _read_slabs(file, rows):
        samples[start : start + len(slab)] = slab
    return samples


def _hash_state(file: RadioMLFile) -> str:
    """Eight hexadecimal digits of the data file's state, with which the names of its caches begin.

    The inode is not among it: machines that share a file system need not agree on its number.
    """
    frames, state = hash_frames(file), file.path.stat()
    content = f"{frames}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def _name_frames(rows: Indices, quantizer: InputQuantizer | None) -> str:
    """The form in which the frames are stored, and which frames they are."""
    kind = "samples" if quantizer is None else f"codes-{quantizer.bit_width}bit-clip{quantizer.clip!r}"
    if quantizer is not None and quantizer.lowest is not None:
        kind += f"-from{quantizer.lowest!r}"
    if quantizer is not None and quantizer.features != "iq":
        kind += f"-{quantizer.features}"
    return f"{kind}-{hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"


def _map_cache(path: Path, shape: tuple[int, ...], quantizer: InputQuantizer | None) -> Stored | None:
    """None where there is no such file, or one that is truncated or something else."""
    try:
        stored = np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except (OSError, ValueError, EOFError):
        return None
    return stored if (stored.shape, stored.dtype) == (shape, _stored_type(quantizer)) else None


def _stored_shape(file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None) -> tuple[int, int, int]:
    features = "iq" if quantizer is None else quantizer.features
    return len(rows), FEATURE_CHANNELS[features], file.frame_length


def _stored_type(quantizer: InputQuantizer | None) -> np.dtype[np.int8] | np.dtype[np.float32]:
    return np.dtype(np.float32) if quantizer is None else np.dtype(np.int8)


@contextmanager
def _lock_first(folders: tuple[Path, ...]) -> Iterator[Path]:
    """The first folder in which a lock can be had, locked: one process at a time writes there."""
    for folder in folders:
        lock = FileLock(folder / ".lock", fallback_to_soft=False)  # falls with its process: no stale one stays behind
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = lock.acquire()
        except OSError:
            if folder == folders[-1]:
                raise
            continue
        with held:
            yield folder
        return


def _check_room(path: Path, shape: tuple[int, ...], quantizer: InputQuantizer | None) -> None:
    needed = int(np.prod(shape)) * _stored_type(quantizer).itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free // 2:
        raise CacheError(
            f"free space in {path.parent} is {describe_bytes(free)}; expected {describe_bytes(2 * needed)}, "
            "twice what the frames take"
        )
    same_frames = list(path.parent.glob(f"*-codes-*-{path.stem.rpartition('-')[2]}.npy"))
    if quantizer is not None and len(same_frames) >= MAX_CACHES:
        raise CacheError(
            f"{path.parent} holds the same frames for {len(same_frames)} input quantizers; expected fewer than "
            f"{MAX_CACHES}: remove those not needed"
        )


def _remove_outdated(folder: Path, state: str) -> None:
    """Removes the unfinished file of a killed maker, and the caches of earlier states of the data file.

    The lock is held, so no other process makes a cache now. Processes that have one mapped keep it.
    """
    for path in (*folder.glob(".unfinished-*"), *folder.glob("*.npy")):
        if not path.name.startswith(f"{state}-"):
            with contextlib.suppress(OSError):  # another user's, in a folder of many: it costs disk, nothing else
                path.unlink()


def _write_cache(
    path: Path, file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None, on_progress: Progress | None
) -> None:
    logger.info("preparing %d frames of %s in %s", len(rows), file.path, path)
    with write_by_rename(path) as unfinished, unfinished.open("wb") as out:
        _write_header(out, _stored_shape(file, rows, quantizer), quantizer)
        for start, slab in _read_slabs(file, rows):
            stored = slab if quantizer is None else encode(compute_features(slab, quantizer.features), quantizer)
            out.write(np.ascontiguousarray(stored).data)
            if on_progress is not None:
                on_progress(start + len(slab), len(rows))
        out.flush()
    logger.info("prepared %s", path)


def _write_header(out: BinaryIO, shape: tuple[int, ...], quantizer: InputQuantizer | None) -> None:
    descr = np.lib.format.dtype_to_descr(_stored_type(quantizer))
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})


def _read_slabs(file: RadioMLFile, rows: Indices) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Position in `rows` and the frames from there on, (n, 2, frame_length), by contiguous reads."""
    with open_file(file.path) as h5:
        for start, stop in _runs(rows):
            slab = read_slab(h5, file.path, int(rows[start]), int(rows[stop - 1]) + 1)
            yield start, slab[rows[start:stop] - rows[start]].transpose(0, 2, 1)


def _runs(rows: Indices) -> Iterator[tuple[int, int]]:
    """Positions [start, stop) in sorted `rows` for one contiguous read: no wide gap within, no more than a slab."""
    start = 0
    for end in [*(np.flatnonzero(np.diff(rows) > _READ_AHEAD_FRAMES) + 1).tolist(), len(rows)]:
        while start < end:
            stop = min(end, int(np.searchsorted(rows, rows[start] + SLAB_FRAMES)))
            yield start, stop
            start = stop
