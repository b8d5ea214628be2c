"""The challenge's way to read frames, written anew: item by item through h5py, batches made by torch's DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

from storage.dataset.radioml import Indices, RadioMLFile
from storage.dataset.split import Split, prescribed_split


class PerItemDataset(Dataset[tuple[np.ndarray, np.int64, float]]):
    """Reads a frame from the file when it is asked for."""

    def __init__(self, path: Path) -> None:
        h5 = h5py.File(path, "r", locking=False)
        self._frames = h5["X"]
        self._labels = np.argmax(h5["Y"][...], axis=1)  # (n_frames,)
        self._snr_db = h5["Z"][...].reshape(-1)  # (n_frames,)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64, float]:
        return self._frames[index].transpose(), self._labels[index], float(self._snr_db[index])  # (2, frame_length)


def split_file(file: RadioMLFile) -> Split:
    """The parts that all benchmarks read."""
    return prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, validation_fraction=0.1)


def make_loader(path: Path, rows: Indices, batch_size: int, drop_last: bool) -> DataLoader[Any]:
    """Batches of each of `rows` once, shuffled: frames, labels, SNRs; a shorter last one is left out if `drop_last`."""
    sampler = SubsetRandomSampler(rows.tolist())
    return DataLoader(PerItemDataset(path), batch_size=batch_size, sampler=sampler, drop_last=drop_last)


def read_training_batches(file: RadioMLFile, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames and labels of full batches of the training part, epoch after epoch without end."""
    loader = make_loader(file.path, split_file(file).train, batch_size, drop_last=True)
    while True:
        for frames, labels, _ in loader:
            yield frames, labels
