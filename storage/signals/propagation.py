"""What a signal meets on its way into a frame: a filter that drifts, a clock that is off, white noise."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from storage.signals.cells import Reals, Signal
from storage.signals.pulse_shaping import multiply, unit_phasor

GUARD_SAMPLES = 128
"""What a signal has on either side of the frame that is cut from its middle."""

_TAPER_SAMPLES = 96


def taper_ends(signal: Signal) -> Signal:
    """Fades the ends of a signal (n, k), far from its frame: an FFT then filters it as if it were periodic."""
    rise = np.sin(np.pi / 2 * (np.arange(_TAPER_SAMPLES) + 0.5) / _TAPER_SAMPLES) ** 2
    window = np.ones(signal.shape[1], np.float32)
    window[:_TAPER_SAMPLES], window[-_TAPER_SAMPLES:] = rise, rise[::-1]
    return np.asarray(signal * window, np.complex64)


def delay_response(n_samples: int, delay_samples: NDArray[np.float64]) -> Signal:
    """Frequency response (n, n_samples) of delays (n,) in samples, fractions included."""
    return unit_phasor(-angular_frequencies(n_samples) * delay_samples[:, None])


def filter_drifting(signal: Signal, response: Signal, drift: Signal, rate_error: NDArray[np.float64]) -> Signal:
    """The signal (n, k) behind a filter of `response` + t `drift`, both (n, k), read by a clock that is off.

    t counts samples from the signal's middle. `rate_error` (n,) is the part by which time runs too fast there:
    x(t (1 + e)) = x(t) + t e x'(t), whose next term is below -60 dB of the signal where pi t e is below 0.04.
    """
    n_samples = signal.shape[1]
    derivative = (1j * angular_frequencies(n_samples)).astype(np.complex64)
    stretch = multiply(response, (rate_error[:, None] * derivative).astype(np.complex64))
    spectrum = scipy.fft.fft(signal, axis=1)
    still = scipy.fft.ifft(multiply(spectrum, response), axis=1)
    moving = scipy.fft.ifft(multiply(spectrum, drift + stretch), axis=1)
    time = (np.arange(n_samples) - n_samples / 2).astype(np.float32)
    return np.asarray(still + time * moving, np.complex64)


def cut_frames(signal: Signal) -> Signal:
    """The signal without its guard on both sides."""
    return signal[:, GUARD_SAMPLES:-GUARD_SAMPLES]


def shift_frequency(signal: Signal, cycles_per_sample: NDArray[np.float64], phase: NDArray[np.float64]) -> Signal:
    """The signal (n, k) times a carrier (n,) that has `phase` (n,) at the first sample."""
    cycles = cycles_per_sample[:, None] * np.arange(signal.shape[1])
    return multiply(signal, unit_phasor(2 * np.pi * cycles + phase[:, None]))


def add_white_noise(signal: Signal, snr_db: float, noise: np.random.Generator) -> Signal:
    """Noise of power P * 10**(-snr_db / 10), where P is a frame's power with its mean."""
    scale = np.sqrt(_power(signal) / 2 * 10 ** (-snr_db / 10)).astype(np.float32)
    return np.asarray(signal + scale * draw_white(signal.shape, noise), np.complex64)


def draw_white(shape: tuple[int, ...], noise: np.random.Generator) -> Signal:
    """Complex white noise of power 2: independent normal I and Q."""
    return noise.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]


def scale_to_unit_power(signal: Signal) -> Signal:
    """x / rms(x) frame by frame; the mean counts as any other part of the signal."""
    return np.asarray(signal / np.sqrt(_power(signal)), np.complex64)


def gaussian(uniform: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Complex normal numbers of power 1 from pairs (..., 2) of uniform ones (Box and Muller)."""
    radius = np.sqrt(-np.log1p(-uniform[..., 0]))
    return np.asarray(radius * np.exp(2j * np.pi * uniform[..., 1]), np.complex128)


def angular_frequencies(n_samples: int) -> NDArray[np.float64]:
    """Radians per sample of each FFT bin, negative in the upper half."""
    return np.asarray(2 * np.pi * np.fft.fftfreq(n_samples), np.float64)


def _power(signal: Signal) -> Reals:
    return np.asarray(np.mean(signal.real**2 + signal.imag**2, axis=1, keepdims=True), np.float32)
