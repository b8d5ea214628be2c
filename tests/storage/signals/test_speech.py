import numpy as np
import pytest

from storage.signals.speech import HIGHEST_HZ, SAMPLE_RATE_HZ, draw_speech

PERIOD_SAMPLES = 4096
FREQUENCIES_HZ = np.fft.fftfreq(PERIOD_SAMPLES, 1 / SAMPLE_RATE_HZ)


def mean_spectrum(pre_emphasis_s: float = 0) -> np.ndarray:
    speech = draw_speech(np.random.default_rng(1), 1000, PERIOD_SAMPLES, pre_emphasis_s)
    return np.asarray(np.mean(np.abs(np.fft.fft(speech, axis=1)) ** 2, axis=0))


def test_amplitudes_have_power_one_and_the_laplace_distribution_over_many_frames() -> None:
    samples = draw_speech(np.random.default_rng(2), 6000, 1).real
    assert np.mean(samples**2) == pytest.approx(1, rel=0.07)
    ratio = np.mean(np.abs(samples)) / np.sqrt(np.mean(samples**2))
    assert ratio == pytest.approx(np.sqrt(1 / 2), rel=0.03)  # a normal distribution has sqrt(2 / pi)


def test_spectrum_is_that_of_speech_in_positive_frequencies_alone() -> None:
    spectrum = mean_spectrum()
    inside = (FREQUENCIES_HZ > 0) & (FREQUENCIES_HZ <= HIGHEST_HZ)
    assert spectrum[~inside].max() < 1e-6 * spectrum.max()
    power_at = [spectrum[np.argmin(np.abs(FREQUENCIES_HZ - hz))] for hz in (50, 250, 1000, 2000, 4000)]
    in_db = 10 * np.log10(power_at)
    assert in_db[0] < in_db[1] > in_db[2]
    assert in_db[3] - in_db[4] == pytest.approx(12, abs=1)  # per octave


def test_pre_emphasis_doubles_the_power_at_its_corner_frequency() -> None:
    corner = int(np.argmin(np.abs(FREQUENCIES_HZ - 1 / (2 * np.pi * 75e-6))))
    assert mean_spectrum(75e-6)[corner] / mean_spectrum()[corner] == pytest.approx(2, rel=0.03)
