"""Pulses at eight samples per symbol: symbols to signals through one batched FFT, and what that needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from storage.signals.cells import Reals, Signal

SAMPLES_PER_SYMBOL = 8


def shape_symbols(
    symbols: Signal, pulse: Callable[[NDArray[np.float64]], Reals], delay_samples: NDArray[np.float64]
) -> Signal:
    """Symbols (n, k) as a periodic signal (n, 8 k), late by `delay_samples` (n,).

    `pulse` gives a pulse's spectrum (n, f) at frequencies (f,) in symbol rates.
    """
    n, n_symbols = symbols.shape
    bins = pass_band(n_symbols)
    frequency = bins / n_symbols
    response = pulse(frequency) * delay(frequency, delay_samples)
    spectrum = np.zeros((n, n_symbols * SAMPLES_PER_SYMBOL), np.complex64)
    spectrum[:, bins] = multiply(scipy.fft.fft(symbols, axis=1)[:, bins % n_symbols], response)
    return np.asarray(scipy.fft.ifft(spectrum, axis=1) * np.float32(SAMPLES_PER_SYMBOL), np.complex64)


def root_raised_cosine(frequency: NDArray[np.float64], roll_off: NDArray[np.float64]) -> Reals:
    """Amplitude response (n, k) at `frequency` (k,) in symbol rates, for `roll_off` (n,); 1 in the pass band."""
    start = (1 - roll_off[:, None]) / 2
    position = np.clip((np.abs(frequency)[None, :] - start) / roll_off[:, None], 0, 1)
    return np.cos(np.pi / 2 * position).astype(np.float32)


def pass_band(n_symbols: int) -> NDArray[np.int64]:
    """FFT bins up to 0.75 symbol rates, beyond any roll-off used here."""
    last = 3 * n_symbols // 4
    return np.arange(-last, last + 1)


def delay(symbol_rates: NDArray[np.float64], delay_samples: NDArray[np.float64]) -> Signal:
    """Frequency response (n, k) of a delay in samples, a fraction included."""
    return unit_phasor(-2 * np.pi / SAMPLES_PER_SYMBOL * delay_samples[:, None] * symbol_rates)


def unit_phasor(angle: NDArray[np.float64]) -> Signal:
    wrapped = np.remainder(angle, 2 * np.pi).astype(np.float32)
    return np.asarray(np.cos(wrapped) + 1j * np.sin(wrapped), np.complex64)


def multiply(left: Signal, right: Signal) -> Signal:
    """left * right, rounded alike at any size: numpy's operator swaps large temporaries, which rounds otherwise."""
    return np.multiply(left, right)
