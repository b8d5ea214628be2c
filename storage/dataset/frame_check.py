"""Checks that every frame of a data file is fit for training, once per file."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.dataset.radioml import (
    SLAB_FRAMES,
    DatasetError,
    Progress,
    RadioMLFile,
    cache_folder,
    check_is_written,
    check_labels,
    describe_state,
    open_file,
    read_slab,
)

_CHECKS = "finite samples, signals, labels"
"""What a remembered file was checked for. A file that was checked for less is read again."""


def check_frames(file: RadioMLFile, on_progress: Progress | None = None) -> None:
    """Raise DatasetError at the first frame that is unfit, or whose row of Y is not its cell's class.

    Unfit is a frame with a NaN or an infinity, and one without a signal: all its samples are equal. So read frames
    that were never written, and holes of a download. A file found clean is remembered in the cache folder and not read
    again unless it changes.
    """
    marker = _clean_marker(file.path)
    if marker.exists():
        return
    with open_file(file.path) as h5:
        for first in range(0, file.n_frames, SLAB_FRAMES):
            stop = min(first + SLAB_FRAMES, file.n_frames)
            check_labels(file, h5, first, stop)
            _check_samples(file, first, read_slab(h5, file.path, first, stop))
            if on_progress is not None:
                on_progress(stop, file.n_frames)
        check_is_written(h5, file.path, "X")  # after the frames: they tell which is the first
    with contextlib.suppress(OSError):  # a read-only cache folder costs another scan next time, nothing else
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _check_samples(file: RadioMLFile, first: int, slab: NDArray[np.float32]) -> None:
    """Raise DatasetError at the first unfit frame of (n, frame_length, 2), the first of which is frame `first`."""
    samples = slab.reshape(len(slab), -1)
    least, most = samples.min(axis=1), samples.max(axis=1)  # of a frame with a NaN, NaN
    is_finite, has_signal = np.isfinite(least) & np.isfinite(most), least != most
    if (is_finite & has_signal).all():
        return
    row = int(np.argmin(is_finite & has_signal))
    if not is_finite[row]:
        raise DatasetError(f"{file.path}: frame {first + row} of X holds NaN or infinity; expected finite samples")
    raise DatasetError(
        f"{file.path}: frame {first + row} of X holds no signal, all its samples are {least[row]:g}; "
        "expected frames that were written"
    )


def _clean_marker(path: Path) -> Path:
    """Exists once this very file was found clean: it is named by path and `describe_state`."""
    key = f"{path.resolve()}|{describe_state(path)}|{_CHECKS}"
    return cache_folder() / "checked" / hashlib.sha256(key.encode()).hexdigest()
