"""Frames kept in a file of their own, made once for all processes: the codes of an input quantizer, or samples."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from spaces.architecture import InputQuantizer
from storage.artifacts import write_by_rename
from storage.input_codes import encode
from storage.radioml import (
    DatasetError,
    Indices,
    Progress,
    RadioMLFile,
    cache_folder,
    describe_state,
    hash_frames,
    open_file,
    read_slab,
)

logger = logging.getLogger(__name__)

Stored = NDArray[np.int8 | np.float32]

MAX_CACHES = 8
"""Caches of the same frames in one folder: as many as input quantizers have bit widths, 2 to 8, and one of samples.

Of a study that draws its clip from a range, each trial would make another.
"""

SLAB_FRAMES = 4096
"""Frames read at once: 32 MiB of 1024-sample frames."""

_READ_AHEAD_FRAMES = 64
"""Frames read and dropped rather than sought over: half a MiB."""


class CacheError(DatasetError):
    """The frames cannot be kept in a file of their own."""


def open_cache(
    file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None, on_progress: Progress | None = None
) -> Stored:
    """The frames of the sorted `rows`, (n, 2, frame_length), mapped read-only: int8 codes of the quantizer, or float32.

    Made at the first call, beside the data file, or in the user's cache folder where nothing can be written there. Of
    several processes that want it at once, one makes it and the others wait. Raises CacheError where it cannot be made
    or would take more than half of the free disk, and what the data file raises.
    """
    name = _name_cache(file, rows, quantizer)
    shape = (len(rows), 2, file.frame_length)
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
                _remove_unfinished(folder)
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
    return path.with_name(f"{path.name}.frames"), cache_folder() / "frames"


def read_rows(file: RadioMLFile, rows: Indices) -> NDArray[np.float32]:
    """The frames of the sorted `rows`, (n, 2, frame_length), in this process's own memory."""
    samples = np.empty((len(rows), 2, file.frame_length), np.float32)
    for start, slab in _read_slabs(file, rows):
        samples[start : start + len(slab)] = slab
    return samples


def _name_cache(file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None) -> str:
    """Named by content: the data set and its file's state, which frames of it, and as what they are kept."""
    digest = hashlib.sha256(f"{hash_frames(file)}|{describe_state(file.path)}|".encode())
    digest.update(rows.tobytes())
    kind = "samples" if quantizer is None else f"codes-{quantizer.bit_width}bit-clip{quantizer.clip!r}"
    return f"{kind}-{digest.hexdigest()[:16]}.npy"


def _map_cache(path: Path, shape: tuple[int, ...], quantizer: InputQuantizer | None) -> Stored | None:
    """None where there is no such file, or one that a crash left truncated."""
    try:
        stored = np.load(path, mmap_mode="r").view(np.ndarray)
    except (OSError, ValueError, EOFError):
        return None
    return stored if (stored.shape, stored.dtype) == (shape, _stored_type(quantizer)) else None


def _stored_type(quantizer: InputQuantizer | None) -> np.dtype[np.int8] | np.dtype[np.float32]:
    return np.dtype(np.float32) if quantizer is None else np.dtype(np.int8)


@contextmanager
def _lock_first(folders: tuple[Path, ...]) -> Iterator[Path]:
    """The first folder in which a lock can be had, locked: one process at a time writes there."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(folder / ".lock")
        except OSError:
            if folder == folders[-1]:
                raise
            continue
        with lock:
            yield folder
        return


def _take_lock(path: Path) -> TextIO:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # falls with its process, so a killed maker leaves no lock behind
    except OSError:
        lock.close()
        raise
    return lock


def _check_room(path: Path, shape: tuple[int, ...], quantizer: InputQuantizer | None) -> None:
    needed = int(np.prod(shape)) * _stored_type(quantizer).itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free // 2:
        raise CacheError(
            f"free space in {path.parent} is {free / 2**30:.1f} GiB; expected {2 * needed / 2**30:.1f} GiB, "
            "twice what the frames take"
        )
    same_frames = list(path.parent.glob(f"*-{path.stem.rpartition('-')[2]}.npy"))
    if len(same_frames) >= MAX_CACHES:
        raise CacheError(
            f"{path.parent} holds the same frames for {len(same_frames)} input quantizers; expected fewer than "
            f"{MAX_CACHES}: remove those not needed"
        )


def _remove_unfinished(folder: Path) -> None:
    """Removes what a killed maker left: the lock is held, so no other is at work."""
    for path in folder.glob(".unfinished-*"):
        path.unlink(missing_ok=True)


def _write_cache(
    path: Path, file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None, on_progress: Progress | None
) -> None:
    logger.info("preparing %d frames of %s in %s", len(rows), file.path, path)
    with write_by_rename(path) as unfinished, unfinished.open("wb") as out:
        _write_header(out, (len(rows), 2, file.frame_length), quantizer)
        for start, slab in _read_slabs(file, rows):
            out.write(np.ascontiguousarray(slab if quantizer is None else encode(slab, quantizer)).data)
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
