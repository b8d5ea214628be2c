import numpy as np
import pytest
from numpy.typing import NDArray

from storage.signals.cells import open_cell
from storage.signals.rothe import ALPHABETS, CLASS_NAMES, SNRS_DB, draw_symbols, generate_cell


def make_frames(class_name: str, snr_db: int, n_frames: int = 512) -> NDArray[np.complex64]:
    frames = np.concatenate(list(generate_cell(class_name, snr_db, 7, n_frames)))
    return frames.view(np.complex64)[..., 0]


def clean_symbols(class_name: str, snr_db: int, n_frames: int = 512) -> NDArray[np.complex64]:
    return draw_symbols(class_name, open_cell(CLASS_NAMES.index(class_name), snr_db, 7), n_frames)


def test_16qam_levels_are_1_and_3_divided_by_3() -> None:
    levels = np.unique(np.round(ALPHABETS["16QAM"].real, 9))
    np.testing.assert_allclose(levels, [-1, -1 / 3, 1 / 3, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("class_name", "n_points"), list(zip(CLASS_NAMES, (2, 4, 8, 2, 4, 8, 16, 16, 64), strict=True))
)
def test_alphabet_has_its_points_equally_often_and_reaches_one(class_name: str, n_points: int) -> None:
    symbols, counts = np.unique(clean_symbols(class_name, 30, 4096), return_counts=True)
    assert len(symbols) == n_points
    assert counts.min() > 0.85 * counts.mean()
    assert symbols.real.max() == pytest.approx(1)


@pytest.mark.parametrize("snr_db", [0, 20, 30])
@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_noise_power_is_that_of_the_label_for_a_symbol_of_power_one(class_name: str, snr_db: int) -> None:
    clean = clean_symbols(class_name, snr_db)
    errors = make_frames(class_name, snr_db) - clean
    phase_noise = (1 - np.exp(-(0.1**2) / 2)) * 2 * np.mean(np.abs(clean) ** 2)  # E |exp(j phi) - 1|**2
    assert np.mean(np.abs(errors) ** 2) == pytest.approx(10 ** (-snr_db / 10) + phase_noise, rel=0.05)


def test_phase_noise_is_a_tenth_of_a_radian_and_independent_from_symbol_to_symbol() -> None:
    turned = np.angle(make_frames("BPSK", 30) * clean_symbols("BPSK", 30).conj())
    white_part = 10**-3 / 2
    assert np.mean(turned**2) == pytest.approx(0.1**2 + white_part, rel=0.05)
    assert abs(np.mean(turned[:, 1:] * turned[:, :-1])) < 0.02 * np.mean(turned**2)


def test_labels_hold_the_noise_power_of_the_source_of_the_method() -> None:
    assert 20 in SNRS_DB  # a noise power of 0.01
