import numpy as np
import pytest

from storage.signals.cells import Signal
from storage.signals.propagation import (
    GUARD_SAMPLES,
    add_white_noise,
    cut_frames,
    delay_response,
    filter_drifting,
    gaussian,
    scale_to_unit_power,
    shift_frequency,
    taper_ends,
)

N_SAMPLES = 1280
TIME = np.arange(N_SAMPLES) - N_SAMPLES / 2
NO_ERROR = np.zeros(1)


def make_tone(n_cycles: int) -> Signal:
    return np.asarray(np.exp(2j * np.pi * n_cycles / N_SAMPLES * TIME)[None], np.complex64)


def test_delay_moves_a_tone_by_a_fraction_of_a_sample() -> None:
    response = delay_response(N_SAMPLES, np.array([2.3]))
    late = filter_drifting(make_tone(70), response, np.zeros_like(response), NO_ERROR)
    expected = np.exp(2j * np.pi * 70 / N_SAMPLES * (TIME - 2.3))
    np.testing.assert_allclose(late[0], expected, atol=1e-5)


def test_drift_changes_a_gain_in_proportion_to_the_time_from_the_middle() -> None:
    flat = np.full((1, N_SAMPLES), 2.0, np.complex64)
    moved = filter_drifting(make_tone(3), flat, flat * np.complex64(0.001j), NO_ERROR)
    np.testing.assert_allclose(moved[0], make_tone(3)[0] * (2 + 0.002j * TIME), atol=1e-5)


@pytest.mark.parametrize("rate_error", [5e-6, -2e-4])
def test_a_clock_that_is_off_stretches_the_signal_about_its_middle(rate_error: float) -> None:
    response = np.ones((1, N_SAMPLES), np.complex64)
    tone = make_tone(112)  # 0.0875 cycles per sample, the edge of the widest linear modulation
    stretched = filter_drifting(tone, response, np.zeros_like(response), np.array([rate_error]))
    expected = np.exp(2j * np.pi * 112 / N_SAMPLES * TIME * (1 + rate_error))
    assert np.abs(stretched[0] - expected).max() < 3e-3
    assert np.abs(stretched[0] - tone[0]).max() > 1e-3


def test_taper_changes_nothing_of_the_frame_and_closes_the_ends() -> None:
    ones = np.ones((1, N_SAMPLES), np.complex64)
    tapered = taper_ends(ones)
    assert abs(tapered[0, 0]) < 1e-3
    assert abs(tapered[0, -1]) < 1e-3
    first, stop = GUARD_SAMPLES - 25, N_SAMPLES - GUARD_SAMPLES + 25  # delays and pulses reach so far
    np.testing.assert_array_equal(tapered[:, first:stop], ones[:, first:stop])
    assert cut_frames(ones).shape == (1, 1024)


def test_carrier_starts_at_its_phase_and_turns_by_its_frequency() -> None:
    carrier = shift_frequency(np.ones((2, 8), np.complex64), np.array([0.25, -0.125]), np.array([0.0, np.pi]))
    np.testing.assert_allclose(carrier[0, :4], [1, 1j, -1, -1j], atol=1e-6)
    np.testing.assert_allclose(carrier[1, [0, 4]], [-1, 1], atol=1e-6)


def test_noise_has_the_power_that_the_label_says_relative_to_each_frame() -> None:
    signal = np.array([[1.0], [10.0]], np.complex64) * np.ones((2, 100_000), np.complex64)
    noise = add_white_noise(signal, 7, np.random.default_rng(1)) - signal
    snr_db = 10 * np.log10(np.array([1.0, 100.0]) / np.mean(np.abs(noise) ** 2, axis=1))
    np.testing.assert_allclose(snr_db, 7, atol=0.05)


def test_unit_power_counts_the_mean() -> None:
    scaled = scale_to_unit_power(np.array([[3 + 1j, 3 - 1j]], np.complex64))
    np.testing.assert_allclose(scaled, np.array([[3 + 1j, 3 - 1j]]) / np.sqrt(10), rtol=1e-6)


def test_gaussian_numbers_are_circular_and_of_power_one() -> None:
    numbers = gaussian(np.random.default_rng(1).random((100_000, 2)))
    assert np.mean(np.abs(numbers) ** 2) == pytest.approx(1, rel=0.02)
    assert abs(np.mean(numbers**2)) < 0.02
    assert np.mean(np.abs(numbers) ** 4) == pytest.approx(2, rel=0.05)
