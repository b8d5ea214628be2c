"""Data files of the right layout, with silence for frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from storage.signals.radioml_classes import CLASS_NAMES

SNRS_DB = tuple(range(-20, 32, 2))


def write_silence(path: Path, frames_per_cell: int = 8, snrs_db: Sequence[int] = SNRS_DB) -> Path:
    """A file that passes all checks; its samples are zeros that take no place on the disk."""
    n_frames = len(CLASS_NAMES) * len(snrs_db) * frames_per_cell
    labels = np.repeat(np.eye(len(CLASS_NAMES), dtype=np.int64), len(snrs_db) * frames_per_cell, axis=0)
    snrs = np.tile(np.repeat(np.array(snrs_db, np.int64), frames_per_cell), len(CLASS_NAMES))[:, None]
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (n_frames, 1024, 2), np.float32)
        file.create_dataset("Y", data=labels)
        file.create_dataset("Z", data=snrs)
    return path
