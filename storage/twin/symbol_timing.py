"""The symbols in a class's frames, found from the frames alone, so that a constellation can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from storage.signals.cells import Signal
from storage.signals.pulse_shaping import SAMPLES_PER_SYMBOL, root_raised_cosine

NYQUIST_ROLL_OFF = 0.3
"""Of the pulse that frames are equalized to: below the roll-off of their own, so that no gain is needed beyond it."""

SYMBOL_LINE = 0.015
"""Least part of the power that is a line at the symbol rate; modulations with a common symbol clock have 0.04."""

OCCUPIED_BAND = 0.08
"""Least part of the spectrum that is signal; at eight samples per symbol 0.125 and more, analog messages far less."""

CARRIER_SHARE = 0.95
"""Least part of the power within four bins of the carrier that is no keying: of 8ASK, the mean has 0.74."""

MIN_FRAME_LENGTH = 256
_EDGE_SYMBOLS = 4
"""Symbols at both ends of a frame whose pulses are cut."""


@dataclass(frozen=True)
class TimedFrames:
    """Frames equalized to a Nyquist pulse and delayed so that every eighth sample is a symbol; of unit mean power."""

    path: Signal
    """(n, samples): away from the frames' ends; the first sample is a symbol."""

    @property
    def symbols(self) -> Signal:
        """(n, symbols)."""
        return self.path[:, ::SAMPLES_PER_SYMBOL]


def find_symbols(frames: Signal) -> TimedFrames | None:
    """The frames (n, samples) of one class by their symbols at eight samples each, or None where they show none.

    The pulse is taken from the mean spectrum, which is right for uncorrelated symbols; the timing is the phase of the
    squared modulus at the symbol rate (Oerder, Meyr 1988, DOI 10.1109/26.1476, eq. 5).
    """
    if frames.shape[1] < MIN_FRAME_LENGTH:
        return None
    spectra = scipy.fft.fft(frames, axis=1)
    cycles_per_sample = scipy.fft.fftfreq(frames.shape[1])
    gain = _nyquist_gain(frames, cycles_per_sample)
    if np.mean(gain > 0) < OCCUPIED_BAND:
        return None
    if _share_at_carrier(spectra) > CARRIER_SHARE:
        return None
    equalized = spectra * gain
    power = np.abs(scipy.fft.ifft(equalized * (cycles_per_sample != 0), axis=1)) ** 2  # without the mean
    clock = np.exp(-2j * np.pi / SAMPLES_PER_SYMBOL * np.arange(frames.shape[1]))
    line = (power * clock).mean(axis=1)
    if np.mean(np.abs(line)) < SYMBOL_LINE * power.mean():
        return None
    late_samples = -np.angle(line) * SAMPLES_PER_SYMBOL / (2 * np.pi)
    path = scipy.fft.ifft(equalized * np.exp(2j * np.pi * late_samples[:, None] * cycles_per_sample), axis=1)
    edge = _EDGE_SYMBOLS * SAMPLES_PER_SYMBOL
    scale = np.sqrt(np.mean(np.abs(path) ** 2, axis=1, keepdims=True))
    return TimedFrames((path / scale)[:, edge : -edge + 1].astype(np.complex64))


def _share_at_carrier(spectra: Signal) -> float:
    power = np.mean(np.abs(spectra) ** 2, axis=0)
    return float((power[:5].sum() + power[-4:].sum()) / power.sum())


def _nyquist_gain(frames: Signal, cycles_per_sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the pulse in the frames (n, samples) to a raised cosine, (samples,); 0 where there is noise alone."""
    windowed = frames * np.hanning(frames.shape[1])  # without it, a carrier leaks into all of the spectrum
    power = np.mean(np.abs(scipy.fft.fft(windowed, axis=1)) ** 2, axis=0)
    around = scipy.ndimage.median_filter(power, size=9, mode="wrap")  # without the line of a carrier
    symbol_rates = cycles_per_sample * SAMPLES_PER_SYMBOL
    target = root_raised_cosine(symbol_rates, np.array([NYQUIST_ROLL_OFF]))[0] ** 2
    return np.where(around > 4 * np.median(around), target / np.sqrt(np.maximum(around, 1e-20)), 0.0)
