"""Words of a stream: the first value in the lowest bits, two's complement, padded to bytes."""

from __future__ import annotations

import numpy as np
import pytest

from fpga.in_finn.rtl_words import pack_words


def test_first_value_is_in_the_lowest_bits() -> None:
    assert pack_words(np.array([[1.0, 2.0, 3.0]]), 6) == [f"{1 | 2 << 6 | 3 << 12:06x}"]


def test_negative_values_are_twos_complement_of_their_bits() -> None:
    assert pack_words(np.array([[-1.0, 0.0], [-16.0, 15.0]]), 5) == [f"{0b00000_11111:04x}", f"{0b01111_10000:04x}"]


def test_words_wider_than_64_bits_keep_every_value() -> None:
    values = np.random.default_rng(0).integers(-(1 << 12), 1 << 12, (5, 31))

    (word,) = {len(word) for word in pack_words(values, 13)}
    numbers = [int(word, 16) for word in pack_words(values, 13)]

    assert word == 2 * ((31 * 13 + 7) // 8)
    assert [[number >> 13 * i & 0x1FFF for i in range(31)] for number in numbers] == (values & 0x1FFF).tolist()


@pytest.mark.parametrize("value", [64.0, -33.0, 0.5])
def test_value_that_is_no_integer_of_these_bits_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected integers of 6 bits"):
        pack_words(np.array([[value]]), 6)
