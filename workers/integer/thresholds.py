"""From which integer sum on a quantizer gives which code: batch norm, ReLU and rounding as thresholds, as in FINN.

The definition is the real-valued one, of the float numbers that the exported file holds:

    value(sum) = gain * (sum * step - mean) / sqrt(variance) + bias
    code(sum) = min(max(round(value(sum) / quantizer_step), 0), highest code), ties to even

`step` is the scale of the input's codes times the scale of the weights; `variance` includes batch norm's eps. A code is
the number of thresholds that a sum has reached. Float64 finds the thresholds. Where it cannot distinguish two
neighbouring sums, which includes every sum on a tie, rational numbers decide.

fpga/in_finn/thresholds.py decides the same again: it runs in FINN's Python, which can import nothing of this folder.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RELATIVE_ERROR = 2.0**-48
"""More than the sum of the eight rounding errors in a position's float64 expression, relative to its largest term."""


@dataclass(frozen=True)
class SumRange:
    """The least and the greatest sum of each channel, (channels,), over all possible input codes."""

    lowest: Integers
    highest: Integers

    @property
    def largest_magnitude(self) -> int:
        """Over the sums of all channels and all their parts: a part of a sum lies in the sum's range."""
        return int(max(np.abs(self.lowest).max(), np.abs(self.highest).max()))


@dataclass(frozen=True)
class Quantization:
    """The numbers of the module's formula; arrays are (channels,), all finite."""

    step: Fraction
    gain: Floats
    """Not negative: where batch norm's gain is, the weights in front and `mean` have been negated."""
    bias: Floats
    mean: Floats
    variance: Floats
    """Positive."""
    quantizer_step: float
    """Positive."""
    highest_code: int

    @property
    def slope(self) -> Floats:
        """Codes per sum, between the clamps."""
        with np.errstate(all="ignore"):
            slope: Floats = self.gain / np.sqrt(self.variance) * float(self.step) / self.quantizer_step
        return slope


def find_thresholds(quantization: Quantization, sums: SumRange) -> Integers:
    """(channels, highest code), not decreasing: the least sum whose code is at least 1, 2, ...

    Where every sum has such a code, it is the lowest of the range; where none has, it is beyond the highest.
    """
    position, error = _locate(quantization)
    lowest, highest = sums.lowest[:, None], sums.highest[:, None]
    with np.errstate(invalid="ignore"):
        is_certain = np.abs(position - np.rint(position)) > error
        is_certain |= (position + error < lowest) | (position - error > highest)
    thresholds: Integers = np.ceil(np.clip(np.where(is_certain, position, 0.0), lowest, highest + 1)).astype(np.int64)
    for channel, level in np.argwhere(~is_certain):
        thresholds[channel, level] = _search(quantization, sums, int(channel), int(level) + 1)
    return thresholds


def _locate(quantization: Quantization) -> tuple[Floats, Floats]:
    """The sum at which each code begins, and the error bound of its float64 value; (channels, highest code).

    Infinite where the gain is zero and the sign is certain. NaN where float64 cannot decide.
    """
    beginning = (np.arange(quantization.highest_code) + 0.5) * quantization.quantizer_step
    bias, mean = quantization.bias[:, None], quantization.mean[:, None]
    with np.errstate(all="ignore"):
        spread = (np.sqrt(quantization.variance) / quantization.gain)[:, None]
        position = ((beginning - bias) * spread + mean) / float(quantization.step)
        magnitude = ((beginning + np.abs(bias)) * spread + np.abs(mean)) / float(quantization.step)
    return position, np.where(quantization.gain[:, None] == 0, 0.0, RELATIVE_ERROR * magnitude)


def _search(quantization: Quantization, sums: SumRange, channel: int, code: int) -> int:
    candidates = range(int(sums.lowest[channel]), int(sums.highest[channel]) + 1)
    index = bisect_left(candidates, True, key=lambda total: _is_reached(quantization, channel, code, total))
    return candidates.start + index


def _is_reached(quantization: Quantization, channel: int, code: int, total: int) -> bool:
    """Whether the sum has at least this code, in exact arithmetic: squaring both sides removes the root."""
    gain, bias, mean, variance = (
        Fraction(float(numbers[channel]))
        for numbers in (quantization.gain, quantization.bias, quantization.mean, quantization.variance)
    )
    centred = gain * (total * quantization.step - mean)
    beginning = Fraction(2 * code - 1, 2) * Fraction(quantization.quantizer_step) - bias
    difference = centred * abs(centred) - beginning * abs(beginning) * variance
    is_tie_up = difference == 0 and code % 2 == 0
    return difference > 0 or is_tie_up
