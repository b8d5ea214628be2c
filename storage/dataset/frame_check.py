"""Checks that every frame of a data file is fit for training, once per file."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from storage.dataset.radioml import (
    SLAB_FRAMES,
    DatasetError,
    Progress,
    RadioMLFile,
    cache_folder,
    check_labels,
    describe_state,
    open_file,
    read_slab,
)

_CHECKS = "finite samples, labels"
"""What a remembered file was checked for. A file that was checked for less is read again."""


def check_frames(file: RadioMLFile, on_progress: Progress | None = None) -> None:
    """Raise DatasetError at the first frame with a NaN or an infinity, or whose row of Y is not its cell's class.

    A file found clean is remembered in the cache folder and not read again unless it changes.
    """
    marker = _clean_marker(file.path)
    if marker.exists():
        return
    with open_file(file.path) as h5:
        for first in range(0, file.n_frames, SLAB_FRAMES):
            stop = min(first + SLAB_FRAMES, file.n_frames)
            check_labels(file, h5, first, stop)
            finite = np.isfinite(read_slab(h5, file.path, first, stop)).all(axis=(1, 2))
            if not finite.all():
                frame = first + int(np.argmin(finite))
                raise DatasetError(f"{file.path}: frame {frame} of X holds NaN or infinity; expected finite samples")
            if on_progress is not None:
                on_progress(stop, file.n_frames)
    with contextlib.suppress(OSError):  # a read-only cache folder costs another scan next time, nothing else
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _clean_marker(path: Path) -> Path:
    """Exists once this very file was found clean: it is named by path and `describe_state`."""
    key = f"{path.resolve()}|{describe_state(path)}|{_CHECKS}"
    return cache_folder() / "checked" / hashlib.sha256(key.encode()).hexdigest()
