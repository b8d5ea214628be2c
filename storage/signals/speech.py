"""A speech-like message: band-limited noise with the long-term spectrum and the changing level of speech."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from storage.signals.cells import Signal
from storage.signals.propagation import draw_white

SAMPLE_RATE_HZ = 200_000
"""Of the messages, and of the signals that carry them."""

HIGHEST_HZ = 15_000

_PERIOD_SAMPLES = 4096
_BIN_HZ = SAMPLE_RATE_HZ / _PERIOD_SAMPLES
_FREQUENCIES_HZ = _BIN_HZ * np.arange(1, int(HIGHEST_HZ / _BIN_HZ) + 1)


def draw_speech(message: np.random.Generator, n_frames: int, n_samples: int, pre_emphasis_s: float = 0) -> Signal:
    """Analytic signals (n_frames, n_samples), at most 4096 long: real part the message, positive frequencies alone.

    Over many frames the message has power 1 before pre-emphasis by 1 + j 2 pi f `pre_emphasis_s`. Its spectrum rises to
    some 100 Hz and falls by 12 dB an octave above 500 Hz, as that of speech does. The level is drawn for each
    frame, power exponentially distributed: over all frames, amplitudes have the Laplace distribution of speech.
    """
    drawn = draw_white((n_frames, len(_FREQUENCIES_HZ) + 1), message)
    level = np.abs(drawn[:, :1]) / np.sqrt(2)
    spectrum = np.zeros((n_frames, _PERIOD_SAMPLES), np.complex64)
    spectrum[:, 1 : len(_FREQUENCIES_HZ) + 1] = drawn[:, 1:] * _amplitudes(pre_emphasis_s)
    signal = scipy.fft.ifft(spectrum, axis=1)[:, :n_samples] * np.float32(_PERIOD_SAMPLES)
    return np.asarray(signal * level, np.complex64)


def _amplitudes(pre_emphasis_s: float) -> NDArray[np.complex64]:
    rise = (_FREQUENCIES_HZ / 100) / np.sqrt(1 + (_FREQUENCIES_HZ / 100) ** 2)
    fall = 1 / (1 + (_FREQUENCIES_HZ / 500) ** 2)
    shape = rise * fall / np.sqrt(np.sum((rise * fall) ** 2))
    return np.asarray(shape * (1 + 2j * np.pi * _FREQUENCIES_HZ * pre_emphasis_s), np.complex64)
