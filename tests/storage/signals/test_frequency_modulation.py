import numpy as np
import pytest

from storage.signals.frequency_modulation import RECTANGULAR_PULSE, gaussian_pulse, modulate_bits, modulate_message

BITS = np.random.default_rng(1).integers(0, 2, (4, 160))


def test_rectangular_pulse_turns_the_phase_evenly_by_pi_h_per_symbol() -> None:
    signal = modulate_bits(BITS, RECTANGULAR_PULSE, modulation_index=0.5)
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    np.testing.assert_allclose(np.abs(steps), np.pi / 16, atol=1e-5)
    np.testing.assert_array_equal(np.sign(steps), np.repeat(2 * BITS - 1, 8, axis=1)[:, 1:])


@pytest.mark.parametrize("n_symbols", [1, 4])
@pytest.mark.parametrize("modulation_index", [0.5, 1.0])
def test_equal_bits_turn_the_phase_by_pi_h_per_symbol_behind_any_pulse(n_symbols: int, modulation_index: float) -> None:
    signal = modulate_bits(np.ones((1, 160), np.int64), gaussian_pulse(0.35, n_symbols), modulation_index)
    turned = np.unwrap(np.angle(signal[0]))
    assert turned[8 * 100] - turned[8 * 90] == pytest.approx(10 * np.pi * modulation_index, abs=1e-3)


def test_gaussian_pulse_is_symmetric_of_sum_one_half_and_narrower_in_frequency_for_a_smaller_bandwidth() -> None:
    wide, narrow = gaussian_pulse(0.5, 4), gaussian_pulse(0.2, 4)
    for pulse in (wide, narrow):
        assert pulse.shape == (4, 8)
        assert pulse.sum() == pytest.approx(0.5)
        np.testing.assert_allclose(pulse.ravel(), pulse.ravel()[::-1])
    assert narrow.max() < wide.max() < RECTANGULAR_PULSE.max()


def test_wide_gaussian_filter_leaves_the_rectangle() -> None:
    np.testing.assert_allclose(gaussian_pulse(50.0, 1), RECTANGULAR_PULSE)


def test_constant_message_shifts_the_carrier_by_the_deviation() -> None:
    signal = modulate_message(np.full((1, 64), 0.5, np.float32), deviation=0.375)
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    np.testing.assert_allclose(steps, 2 * np.pi * 0.1875, atol=1e-5)
