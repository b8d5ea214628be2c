"""Samples as the integer codes of an input quantizer: bit for bit those that the network itself would make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.blocks import InputQuantizer


def quantizer_scale(quantizer: InputQuantizer) -> np.float32:
    """What one step of the codes stands for: clip / 2**(bit_width - 1), rounded to float32 as Brevitas rounds it."""
    with np.errstate(over="ignore"):
        return np.float32(np.float32(quantizer.clip) / np.float32(2 ** (quantizer.bit_width - 1)))


def encode(samples: NDArray[np.float32], quantizer: InputQuantizer) -> NDArray[np.int8]:
    """The codes of finite samples, of any shape: divided by the scale, rounded to even, clamped to the signed range.

    Dividing matters: multiplying by the reciprocal gives other codes at some ties.
    """
    with np.errstate(over="ignore"):
        codes = samples / quantizer_scale(quantizer)
    return np.clip(np.rint(codes, out=codes), *_list_limits(quantizer), out=codes).astype(np.int8)


def _list_limits(quantizer: InputQuantizer) -> tuple[int, int]:
    """The lowest and the highest code."""
    limit = 2 ** (quantizer.bit_width - 1)
    if quantizer.lowest is None:
        return -limit, limit - 1
    return max(-limit, round(float(np.float32(quantizer.lowest) / quantizer_scale(quantizer)))), limit - 1


def has_exact_codes(quantizer: InputQuantizer) -> bool:
    """Whether the quantizer makes of each code times the scale that very number again.

    Then a network cannot tell codes from samples: its input quantizer puts out equal numbers for both (a negative zero
    becomes a zero, which are equal). It is so for every scale in float32's normal range; not for an infinite one.
    """
    scale = quantizer_scale(quantizer)
    if not np.finfo(np.float32).tiny <= scale < np.inf:
        return False
    lowest, highest = _list_limits(quantizer)
    codes = np.arange(lowest, highest + 1).astype(np.int8)
    return bool((encode(codes * scale, quantizer) == codes).all())
