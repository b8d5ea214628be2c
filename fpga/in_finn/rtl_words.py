"""Integers as the words of an AXI stream."""

from __future__ import annotations

import numpy as np


def pack_words(values: np.ndarray, bits: int) -> list[str]:
    """Integers (..., n) of `bits` bits, two's complement, as words of n values in hexadecimal, padded to bytes.

    Raises ValueError where a value is no integer of this many bits.
    """
    integers = np.rint(values).astype(np.int64)
    if not np.array_equal(integers, values) or np.any(integers >= 1 << bits) or np.any(integers < -(1 << bits - 1)):
        raise ValueError(f"values from {values.min()} to {values.max()}; expected integers of {bits} bits")
    rows = integers.reshape(-1, values.shape[-1], 1)  # (words, n, 1)
    digits = (rows >> np.arange(bits)) & 1  # (words, n, bits), lowest bit first
    packed = np.packbits(digits.astype(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
    return [word.tobytes().hex() for word in packed[:, ::-1]]
