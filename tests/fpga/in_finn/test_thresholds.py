"""Thresholds are where the quantizer's output steps, ties included; the module runs in FINN's environment, too."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from fpga.in_finn.thresholds import Normalization, SumRange, find_sample_thresholds, find_thresholds
from workers.integer import thresholds as integer_thresholds

PLAIN = Normalization(np.ones(1), np.zeros(1), np.zeros(1), np.ones(1))


def bounds(lowest: int, highest: int, n_channels: int = 1) -> SumRange:
    return SumRange(np.full(n_channels, lowest), np.full(n_channels, highest))


def test_ties_go_to_the_even_code() -> None:
    sums = np.arange(40)

    (thresholds,) = find_thresholds(bounds(0, 39), np.ones(1), PLAIN, 2.0, 15)

    codes = np.searchsorted(thresholds, sums, side="right")
    assert codes.tolist() == np.clip(np.rint(sums / 2), 0, 15).tolist()


def test_thresholds_beyond_all_sums_are_at_the_ends_of_the_range() -> None:
    norm = Normalization(np.zeros(2), np.array([2.0, -1.0]), np.zeros(2), np.ones(2))

    thresholds = find_thresholds(bounds(-5, 5, 2), np.ones(2), norm, 1.0, 3)

    assert thresholds.tolist() == [[-5, -5, 6], [6, 6, 6]]


def test_codes_are_those_of_the_definition_in_rational_numbers_where_ties_are_common() -> None:
    """Every number is a few binary digits long and the variance a square, so that a value is a fraction."""
    generator = np.random.default_rng(1)
    n_channels, lowest, highest, highest_code = 200, -40, 40, 15
    gain, step, deviation = (generator.integers(1, 9, n_channels) / 4 for _ in range(3))
    bias, mean = (generator.integers(-16, 17, n_channels) / 4 for _ in range(2))
    gain[::10] = 0

    thresholds = find_thresholds(
        bounds(lowest, highest, n_channels), step, Normalization(gain, bias, mean, deviation**2), 0.5, highest_code
    )

    sums = np.arange(lowest, highest + 1)
    n_ties = 0
    for channel in range(n_channels):
        one, g, b, m, d = (Fraction(float(of[channel])) for of in (step, gain, bias, mean, deviation))
        quotients = [(g * (int(total) * one - m) / d + b) / Fraction(1, 2) for total in sums]
        n_ties += sum(quotient.denominator == 2 and 0 < quotient < highest_code for quotient in quotients)
        codes = np.searchsorted(thresholds[channel], sums, side="right")
        assert codes.tolist() == [min(max(round(quotient), 0), highest_code) for quotient in quotients]
    assert n_ties > 200


def test_large_sums_have_the_thresholds_that_integer_evaluation_counts() -> None:
    """With batch norm's numbers in float32 as files hold them, sums of 23 bits, and some gains of zero."""
    generator = np.random.default_rng(0)
    n_channels, step, quantizer_step = 64, np.float32(0.00731) * np.float32(0.0123), float(np.float32(0.0271))
    gain, bias, mean = (generator.standard_normal(n_channels).astype(np.float32).astype(float) for _ in range(3))
    gain = np.abs(gain) * (generator.random(n_channels) > 0.1)
    variance = generator.uniform(0.01, 90, n_channels).astype(np.float32).astype(float) + 1e-5
    norm = Normalization(gain, bias, mean * 100, variance)
    reference = integer_thresholds.Quantization(
        Fraction(float(step)), gain, bias, mean * 100, variance, quantizer_step, 255
    )
    lowest, highest = np.full(n_channels, -8_000_000), np.full(n_channels, 8_000_000)

    found = find_thresholds(SumRange(lowest, highest), np.full(n_channels, float(step)), norm, quantizer_step, 255)

    expected = integer_thresholds.find_thresholds(reference, integer_thresholds.SumRange(lowest, highest))
    assert (found == expected).all()
    assert len(np.unique(found)) > 1_000


def test_samples_beside_a_tie_get_the_code_of_the_quotient() -> None:
    scale = float(np.float32(2.0) / np.float32(128))  # a power of two: every tie is a float32
    other = float(np.float32(3.1) / np.float32(128))
    for given in (scale, other):
        thresholds = np.array(find_sample_thresholds(given, -128, 127))
        ties = ((np.arange(-128, 128) - 0.5) * given).astype(np.float32)
        samples = np.concatenate([np.nextafter(ties, np.float32(-9)), ties, np.nextafter(ties, np.float32(9))])

        codes = np.searchsorted(thresholds, samples, side="right") - 128

        assert codes.tolist() == np.clip(np.rint(samples.astype(np.float64) / given), -128, 127).tolist()
