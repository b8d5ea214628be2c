"""Thresholds are those of exact arithmetic, ties to even."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.integer.thresholds import Quantization, SumRange, find_thresholds


def make_range(lowest: int, highest: int, n_channels: int = 1) -> SumRange:
    return SumRange(np.full(n_channels, lowest), np.full(n_channels, highest))


def scale_alone(step: Fraction, quantizer_step: float, highest_code: int) -> Quantization:
    one, zero = np.ones(1), np.zeros(1)
    return Quantization(step, one, zero, zero, one, quantizer_step, highest_code)


def count(thresholds: NDArray[np.int64], sums: range) -> list[int]:
    return [int(np.count_nonzero(thresholds[0] <= total)) for total in sums]


def test_ties_go_to_the_even_code() -> None:
    """Half steps: 0.5 is 0, 1.5 is 2, 2.5 is 2, 3.5 is 4, as round-half-even has them."""
    quantization = scale_alone(Fraction(1, 2), 1.0, 7)
    thresholds = find_thresholds(quantization, make_range(-4, 20))
    expected = [min(max(round(Fraction(total, 2)), 0), 7) for total in range(-4, 21)]
    assert count(thresholds, range(-4, 21)) == expected
    assert thresholds[0].tolist() == [2, 3, 6, 7, 10, 11, 14]


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_a_sum_beside_a_tie_by_less_than_float64_can_tell_is_decided_exactly(excess: int) -> None:
    step = Fraction(1, 2) + Fraction(excess, 2**80)
    thresholds = find_thresholds(scale_alone(step, 1.0, 3), make_range(0, 9))
    assert count(thresholds, range(10)) == [min(round(total * step), 3) for total in range(10)]
    assert (thresholds[0][0] == 1) == (excess > 0)


@pytest.mark.parametrize("seed", range(6))
def test_codes_are_those_of_rational_arithmetic(seed: int) -> None:
    """Deviations are whole numbers of 1/16, so that roots are rational and ties happen."""
    generator = np.random.default_rng(seed)
    n_channels, highest_code = 12, 15
    deviation = generator.integers(1, 40, n_channels) / 16
    quantization = Quantization(
        step=Fraction(1, 8),
        gain=generator.integers(0, 6, n_channels) / 4,
        bias=generator.integers(-8, 24, n_channels) / 4,
        mean=generator.integers(-16, 16, n_channels) / 8,
        variance=deviation**2,
        quantizer_step=0.25,
        highest_code=highest_code,
    )
    thresholds = find_thresholds(quantization, make_range(-60, 60, n_channels))
    assert thresholds.shape == (n_channels, highest_code)
    assert (np.diff(thresholds, axis=1) >= 0).all()
    for channel in range(n_channels):
        gain, bias, mean, root = (
            Fraction(float(values[channel]))
            for values in (quantization.gain, quantization.bias, quantization.mean, deviation)
        )
        for total in range(-60, 61):
            value = gain * (total * Fraction(1, 8) - mean) / root + bias
            code = min(max(round(value / Fraction(1, 4)), 0), highest_code)
            assert np.count_nonzero(thresholds[channel] <= total) == code


@pytest.mark.parametrize(("bias", "code"), [(-3.0, 0), (0.5, 0), (1.5, 2), (1.7, 2), (99.0, 3)])
def test_a_gain_of_zero_gives_one_code_for_all_sums(bias: float, code: int) -> None:
    quantization = Quantization(
        Fraction(1, 3), np.zeros(1), np.array([bias]), np.array([5.0]), np.array([1e-5]), 1.0, 3
    )
    assert set(count(find_thresholds(quantization, make_range(-9, 9)), range(-9, 10))) == {code}


@pytest.mark.parametrize("gain", [1e-300, 1e-20, 1e20, 1e300])
def test_extreme_gains_are_decided_exactly(gain: float) -> None:
    quantization = Quantization(
        Fraction(1, 4), np.array([gain]), np.array([1.5]), np.array([0.75]), np.array([1.0]), 1.0, 3
    )
    codes = count(find_thresholds(quantization, make_range(-5, 9)), range(-5, 10))
    assert codes == ([1] * 8 + [2] * 7 if gain < 1 else [0] * 8 + [2] + [3] * 6)


def test_thresholds_outside_the_range_of_sums_lie_at_its_ends() -> None:
    thresholds = find_thresholds(scale_alone(Fraction(1), 1.0, 15), make_range(5, 8))
    assert thresholds[0].tolist() == [5] * 5 + [6, 7, 8] + [9] * 7


def test_a_channel_without_weights_has_one_sum() -> None:
    quantization = Quantization(Fraction(1e-12), np.ones(1), np.array([2.2]), np.array([0.1]), np.array([0.25]), 1.0, 3)
    assert count(find_thresholds(quantization, make_range(0, 0)), range(1)) == [2]


def test_parts_of_a_sum_are_bounded_too() -> None:
    assert SumRange(np.array([-9, -2]), np.array([4, 7])).largest_magnitude == 9
