"""Messages and bits in the frequency of a carrier of constant amplitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from storage.signals.cells import Reals, Signal
from storage.signals.pulse_shaping import SAMPLES_PER_SYMBOL, unit_phasor

FrequencyPulse = NDArray[np.float64]
"""(symbols, samples per symbol); its sum is 1/2."""

RECTANGULAR_PULSE: FrequencyPulse = np.full((1, SAMPLES_PER_SYMBOL), 0.5 / SAMPLES_PER_SYMBOL)
"""That of CPFSK: the frequency is constant over each symbol."""


def gaussian_pulse(bandwidth_time: float, n_symbols: int) -> FrequencyPulse:
    """A rectangle of one symbol behind a Gaussian filter of this bandwidth-time product, cut to `n_symbols`.

    g(t) = Q(2 pi BT (t - 1/2) / sqrt(ln 2)) - Q(2 pi BT (t + 1/2) / sqrt(ln 2)), t in symbols (Proakis, Digital
    Communications, section 4.3).
    """
    n_samples = n_symbols * SAMPLES_PER_SYMBOL
    time = (np.arange(n_samples) + 0.5 - n_samples / 2) / SAMPLES_PER_SYMBOL
    slope = 2 * np.pi * bandwidth_time / np.sqrt(np.log(2))
    pulse = _tail(slope * (time - 0.5)) - _tail(slope * (time + 0.5))
    return np.asarray((pulse / (2 * pulse.sum())).reshape(n_symbols, SAMPLES_PER_SYMBOL), np.float64)


def modulate_bits(bits: NDArray[np.int64], pulse: FrequencyPulse, modulation_index: float) -> Signal:
    """Bits of 0 and 1 (n, k) as a signal (n, 8 k) of continuous phase: 2 pi h times the sum of +-1 times pulses."""
    frequency = np.zeros((*bits.shape, SAMPLES_PER_SYMBOL))
    for age, part in enumerate(pulse):
        frequency += np.roll(2 * bits - 1, age, axis=1)[..., None] * part
    return unit_phasor(2 * np.pi * modulation_index * np.cumsum(frequency.reshape(len(bits), -1), axis=1))


def modulate_message(message: Reals, deviation: float) -> Signal:
    """A message (n, k) as the frequency of a carrier, `deviation` cycles per sample where it is 1."""
    return unit_phasor(2 * np.pi * deviation * np.cumsum(message, axis=1, dtype=np.float64))


def _tail(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(erfc(value / np.sqrt(2)) / 2, np.float64)
