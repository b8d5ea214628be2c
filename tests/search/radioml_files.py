"""Data files of the right layout, with the same signal in all frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from storage.signals.radioml_classes import CLASS_NAMES

SNRS_DB = tuple(range(-20, 32, 2))


def write_tones(path: Path, frames_per_cell: int = 8, snrs_db: Sequence[int] = SNRS_DB) -> Path:
    """A file that passes all checks. Each frame is the same tone; compressed, they take little place on the disk."""
    n_frames = len(CLASS_NAMES) * len(snrs_db) * frames_per_cell
    labels = np.repeat(np.eye(len(CLASS_NAMES), dtype=np.int64), len(snrs_db) * frames_per_cell, axis=0)
    snrs = np.tile(np.repeat(np.array(snrs_db, np.int64), frames_per_cell), len(CLASS_NAMES))[:, None]
    phase = 0.1 + np.arange(1024) * np.pi / 16  # no sample is 0
    tone = np.stack([np.cos(phase), np.sin(phase)], axis=-1).astype(np.float32)  # (1024, 2)
    with h5py.File(path, "w") as file:
        samples = np.broadcast_to(tone, (n_frames, 1024, 2))
        file.create_dataset("X", data=samples, chunks=(64, 1024, 2), compression="gzip", compression_opts=1)
        file.create_dataset("Y", data=labels)
        file.create_dataset("Z", data=snrs)
    return path
