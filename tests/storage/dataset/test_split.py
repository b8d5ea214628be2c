"""The split against the procedure that the challenge prescribes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from storage.dataset.frames import load_test_frames, load_training_frames, load_validation_frames
from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.dataset.split import prescribed_split
from tests.storage.layout_files import FRAMES_PER_CELL, indices_of, write_file


def follow_challenge_procedure(frames_per_cell: int) -> tuple[list[int], list[int]]:
    """Train and test indices as the rules of ITU PS-007 write them out."""
    train_indices: list[int] = []
    test_indices: list[int] = []
    np.random.seed(2018)
    for mod in range(24):
        for snr_idx in range(26):
            start_idx = 26 * frames_per_cell * mod + frames_per_cell * snr_idx
            indices_subclass = list(range(start_idx, start_idx + frames_per_cell))
            split = int(np.ceil(0.1 * frames_per_cell))
            np.random.shuffle(indices_subclass)
            train_indices.extend(indices_subclass[split:])
            test_indices.extend(indices_subclass[:split])
    return train_indices, test_indices


def test_split_of_the_real_layout_is_the_prescribed_one() -> None:
    train, test = follow_challenge_procedure(4096)
    split = prescribed_split(24, 26, 4096, validation_fraction=0.1)
    assert len(split.test) == 255_840  # 24 * 26 * ceil(0.1 * 4096)
    np.testing.assert_array_equal(split.test, test)
    in_train_order = np.concatenate([split.validation.reshape(624, -1), split.train.reshape(624, -1)], axis=1)
    np.testing.assert_array_equal(in_train_order.ravel(), train)


def test_split_of_a_file_of_full_layout_is_the_prescribed_one(tmp_path: Path) -> None:
    train, test = follow_challenge_procedure(FRAMES_PER_CELL)
    file = inspect_radioml(write_file(tmp_path / "radioml.hdf5"))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, validation_fraction=0.1)
    np.testing.assert_array_equal(indices_of(load_test_frames(file, split)), sorted(test))
    loaded = [
        indices_of(load_training_frames(file, split, -20, None)),
        indices_of(load_validation_frames(file, split, None)),
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(loaded)), sorted(train))


@pytest.mark.parametrize("frames_per_cell", [3, 8, 64, 100])
@pytest.mark.parametrize("frames_limit", [None, 3, 7, 50, 5000])
@pytest.mark.parametrize("validation_fraction", [0.01, 0.1, 0.4])
def test_no_frame_is_in_two_parts(frames_per_cell: int, frames_limit: int | None, validation_fraction: float) -> None:
    split = prescribed_split(24, 26, frames_per_cell, validation_fraction, frames_limit)
    together = np.concatenate([split.train, split.validation, split.test])
    assert len(np.unique(together)) == len(together) == 624 * min(frames_per_cell, frames_limit or frames_per_cell)
    assert min(len(split.train), len(split.validation), len(split.test)) >= 624


def test_validation_is_the_first_part_of_each_cells_train_indices() -> None:
    train, _ = follow_challenge_procedure(100)
    split = prescribed_split(24, 26, 100, validation_fraction=0.15)
    first_of_each = np.array(train).reshape(624, 90)[:, : math.ceil(0.15 * 90)]
    np.testing.assert_array_equal(split.validation, first_of_each.ravel())


@pytest.mark.parametrize("frames_limit", [3, 8, 40, 99])
def test_sub_sampling_keeps_the_split(frames_limit: int) -> None:
    whole = prescribed_split(24, 26, 100, 0.1)
    sample = prescribed_split(24, 26, 100, 0.1, frames_limit)
    assert set(sample.train) <= set(whole.train)
    assert set(sample.validation) <= set(whole.validation)
    assert set(sample.test) <= set(whole.test)


def test_sub_sampling_keeps_the_proportions() -> None:
    sample = prescribed_split(24, 26, 4096, 0.1, frames_limit=64)
    assert (len(sample.train), len(sample.validation), len(sample.test)) == (624 * 51, 624 * 6, 624 * 7)


@pytest.mark.parametrize(("frames_per_cell", "frames_limit"), [(2, None), (64, 2)])
def test_cells_too_small_for_three_parts_are_refused(frames_per_cell: int, frames_limit: int | None) -> None:
    with pytest.raises(DatasetError, match=r"frames per cell is 2; expected at least 3"):
        prescribed_split(24, 26, frames_per_cell, 0.1, frames_limit)


def test_split_leaves_numpys_global_random_state_alone() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    prescribed_split(24, 26, 8, 0.1)
    assert np.random.random() == expected
