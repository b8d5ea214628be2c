"""Data files of full layout and few samples, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.dataset.frames import Frames

N_CLASSES, N_SNRS, FRAMES_PER_CELL = 24, 26, 8
N_FRAMES = N_CLASSES * N_SNRS * FRAMES_PER_CELL
SNRS_DB = tuple(range(-20, 32, 2))


def write_file(
    path: Path, frames_per_cell: int = FRAMES_PER_CELL, frame_length: int = 2, n_classes: int = N_CLASSES
) -> Path:
    """I of a frame's first sample is the frame's index, Q the negative of the next index; all other samples are 0."""
    n_frames = n_classes * N_SNRS * frames_per_cell
    frames = np.zeros((n_frames, frame_length, 2), np.float32)
    frames[:, 0, 0] = np.arange(n_frames)
    frames[:, 0, 1] = -1 - np.arange(n_frames)
    labels = np.repeat(np.arange(n_classes), N_SNRS * frames_per_cell)
    with h5py.File(path, "w") as h5:
        h5["X"] = frames
        h5["Y"] = np.eye(n_classes, dtype=np.int64)[labels]
        h5["Z"] = np.tile(np.repeat(np.array(SNRS_DB), frames_per_cell), n_classes)[:, None]
    return path


def replace(path: Path, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> None:
    """Puts changed values in the place of X, Y or Z."""
    with h5py.File(path, "r+") as h5:
        values = h5[name][...]
        del h5[name]
        h5[name] = change(values)


def indices_of(frames: Frames) -> NDArray[np.int64]:
    """The index of each frame of a file made by `write_file`."""
    return frames.gather(slice(None))[:, 0, 0].astype(np.int64)
