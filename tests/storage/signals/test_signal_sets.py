"""What every synthetic signal set promises, whatever its signals are."""

from typing import get_args

import numpy as np
import pytest

from spaces.study_config import TwinPart
from storage.signals.cells import Reals
from storage.signals.signal_sets import SIGNAL_SETS

OTHER_CELLS = [
    (profile, class_name)
    for profile, signal_set in SIGNAL_SETS.items()
    if profile != "deepsig-2018"  # its own tests hold the same
    for class_name in signal_set.class_names
]


def make_frames(profile: str, class_name: str, snr_db: int, n_frames: int, seed: int = 1) -> Reals:
    return np.concatenate(list(SIGNAL_SETS[profile].generate_cell(class_name, snr_db, seed, n_frames)))


def test_a_study_may_name_every_profile_and_no_other() -> None:
    assert get_args(TwinPart.model_fields["profile"].annotation) == tuple(SIGNAL_SETS)


def test_classes_lengths_and_labels_of_the_other_sets_are_those_documented() -> None:
    shapes = {
        profile: (len(s.class_names), s.frame_length, min(s.snrs_db), max(s.snrs_db), len(s.snrs_db))
        for profile, s in SIGNAL_SETS.items()
    }
    assert shapes["paper"] == shapes["deepsig-2018"] == (24, 1024, -20, 30, 26)
    assert shapes["rothe-9"] == (9, 32, 0, 30, 16)
    assert shapes["matlab-11"] == (11, 1024, 30, 30, 1)


@pytest.mark.parametrize(("profile", "class_name"), OTHER_CELLS)
def test_a_frame_depends_on_seed_class_snr_and_index_alone(profile: str, class_name: str) -> None:
    snr_db = SIGNAL_SETS[profile].snrs_db[-1]
    few, many = (make_frames(profile, class_name, snr_db, n_frames) for n_frames in (3, 300))
    assert many.shape == (300, SIGNAL_SETS[profile].frame_length, 2)
    assert many.dtype == np.float32
    assert np.isfinite(many).all()
    np.testing.assert_array_equal(few, many[:3])


@pytest.mark.parametrize("profile", SIGNAL_SETS)
def test_frames_of_other_seeds_classes_and_indices_differ(profile: str) -> None:
    first, second = SIGNAL_SETS[profile].class_names[:2]
    snr_db = SIGNAL_SETS[profile].snrs_db[0]
    frames = [make_frames(profile, first, snr_db, 2), make_frames(profile, second, snr_db, 2)]
    frames.append(make_frames(profile, first, snr_db, 2, seed=2))
    assert len(np.unique(np.concatenate(frames)[:, 5, 0])) == 6
