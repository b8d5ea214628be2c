"""The prescribed split of a data set into training, validation and test, as frame indices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from storage.dataset.radioml import DatasetError, Indices, RadioMLFile

TEST_FRACTION = 0.1
"""Part of every cell that is test (ITU PS-007)."""

SPLIT_SEED = 2018
"""Seed of the prescribed split (ITU PS-007)."""


@dataclass(frozen=True)
class Split:
    """Frame indices of the three parts, cell after cell; no index is in two of them."""

    train: Indices
    validation: Indices
    test: Indices


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
    indices = split.train[file.snr_labels(split.train) >= min_snr_db]
    if not len(indices):
        raise DatasetError(
            f"dataset.min_training_snr_db is {min_snr_db}; expected at most {max(file.snrs_db)}, "
            f"the highest SNR of {file.path}"
        )
    return indices


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
