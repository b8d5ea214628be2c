"""From which integer sum on a quantizer puts out which code, decided exactly.

The definition is the real-valued one, of the float numbers that the QONNX file holds:

    value(sum) = gain * (sum * step - mean) / sqrt(variance) + bias
    code(sum) = min(max(round(value(sum) / quantizer_step), 0), highest code), ties to even

FINN's own streamlining folds the same numbers into each other in single precision, which moves thresholds by whole
steps where sums are large. Float64 finds them; where it cannot tell two neighbouring sums apart, as it never can where
a sum lies on a tie, the decision is made in rational numbers.

workers/integer/thresholds.py decides the same again for evaluation: FINN's Python can import nothing of that folder.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RELATIVE_ERROR = 2.0**-48
"""More than the roundings of a position's float64 expression add up to, relative to the largest of its terms."""


@dataclass(frozen=True)
class SumRange:
    """The least and the greatest sum of each channel, (channels,), over all codes that may enter."""

    lowest: Integers
    highest: Integers

    @property
    def largest_magnitude(self) -> int:
        """Of the sums of all channels."""
        return int(max(np.abs(self.lowest).max(), np.abs(self.highest).max()))


@dataclass(frozen=True)
class Normalization:
    """What becomes of the values that sums stand for: the numbers of the module's formula, each (channels,)."""

    gain: Floats
    """Not negative: where batch norm's is, the weights in front and `mean` have been turned round."""
    bias: Floats
    mean: Floats
    variance: Floats
    """Positive; it includes batch norm's eps."""


def find_thresholds(
    sums: SumRange, step: Floats, norm: Normalization, quantizer_step: float, highest_code: int
) -> Integers:
    """(channels, highest_code), not decreasing: the least sum whose code is at least 1, 2, ...

    `step` (channels,) is what a sum of 1 stands for. A threshold is the lowest of the range where every sum has such a
    code, and beyond the highest where none has.
    """
    beginning: Floats = (np.arange(highest_code, dtype=np.float64) + 0.5) * np.float64(quantizer_step)
    position, error = _locate(beginning, step[:, None], norm)
    lowest, highest = sums.lowest[:, None], sums.highest[:, None]
    with np.errstate(invalid="ignore"):
        is_certain = np.abs(position - np.rint(position)) > error
        is_certain |= (position + error < lowest) | (position - error > highest)
    within = np.clip(np.where(is_certain, position, 0.0), lowest, highest + 1)
    thresholds: Integers = np.ceil(within).astype(np.int64)
    for channel, level in np.argwhere(~is_certain):
        candidates = range(int(sums.lowest[channel]), int(sums.highest[channel]) + 1)
        decide = _make_decision(step, norm, quantizer_step, int(channel), int(level) + 1)
        thresholds[channel, level] = candidates.start + bisect_left(candidates, True, key=decide)
    return thresholds


def find_sample_thresholds(scale: float, lowest_code: int, highest_code: int) -> list[float]:
    """The least float32 sample whose code is at least lowest_code + 1, ..., highest_code: round(sample / scale)."""
    codes = range(lowest_code + 1, highest_code + 1)
    return [_first_float32(Fraction(2 * code - 1, 2) * Fraction(scale), code) for code in codes]


def _first_float32(boundary: Fraction, code: int) -> float:
    """The least float32 beyond the boundary of a code, or at it where a tie goes to this code, the even one."""
    sample = np.nextafter(np.float32(float(boundary)), np.float32(-np.inf))
    while Fraction(float(sample)) < boundary or (Fraction(float(sample)) == boundary and code % 2):
        sample = np.nextafter(sample, np.float32(np.inf))
    return float(sample)


def _locate(beginning: Floats, step: Floats, norm: Normalization) -> tuple[Floats, Floats]:
    """Where on the line of sums each code begins, and how wrong float64 may be about it; (channels, highest code).

    Infinite where a gain is zero and the side sure; NaN where float64 cannot tell.
    """
    bias, mean = norm.bias[:, None], norm.mean[:, None]
    with np.errstate(all="ignore"):
        spread = (np.sqrt(norm.variance) / norm.gain)[:, None]
        position = ((beginning - bias) * spread + mean) / step
        magnitude = ((beginning + np.abs(bias)) * spread + np.abs(mean)) / step
    return position, np.where(norm.gain[:, None] == 0, 0.0, RELATIVE_ERROR * magnitude)


def _make_decision(
    step: Floats, norm: Normalization, quantizer_step: float, channel: int, code: int
) -> Callable[[int], bool]:
    """Whether a sum has at least this code, in exact arithmetic: the root is gone when both sides are squared."""
    numbers = (step, norm.gain, norm.mean, norm.bias, norm.variance)
    one, gain, mean, bias, variance = (Fraction(float(of[channel])) for of in numbers)
    beginning = Fraction(2 * code - 1, 2) * Fraction(quantizer_step) - bias
    squared_beginning = beginning * abs(beginning) * variance

    def is_reached(total: int) -> bool:
        centred = gain * (total * one - mean)
        difference = centred * abs(centred) - squared_beginning
        return difference > 0 or (difference == 0 and code % 2 == 0)

    return is_reached
