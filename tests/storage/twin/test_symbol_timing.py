"""Checks that symbols are found in frames by their frames alone, and not where there are none."""

import numpy as np
import pytest

from storage.signals.cells import Signal
from storage.signals.modulations import generate_cell
from storage.twin.symbol_timing import find_symbols


@pytest.mark.parametrize("class_name", ["BPSK", "QPSK", "8PSK", "16PSK"])
def test_symbols_of_phase_shift_keying_lie_on_a_circle(class_name: str) -> None:
    timed = find_symbols(_frames(class_name, 30))
    assert timed is not None
    modulus = np.abs(timed.symbols)  # (64, 121)
    assert modulus.shape == (64, 121)
    assert np.mean(modulus.std(axis=1) / modulus.mean(axis=1)) < 0.05


def test_symbols_of_on_off_keying_are_off_or_on() -> None:
    timed = find_symbols(_frames("OOK", 30))
    assert timed is not None
    level = np.abs(timed.symbols) / np.percentile(np.abs(timed.symbols), 90, axis=1, keepdims=True)
    assert np.mean((level < 0.15) | (level > 0.85)) > 0.99


@pytest.mark.parametrize("class_name", ["AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "OQPSK"])
def test_signals_without_a_common_symbol_clock_show_no_symbols(class_name: str) -> None:
    assert find_symbols(_frames(class_name, 30)) is None


def test_noise_and_short_frames_show_no_symbols() -> None:
    assert find_symbols(_frames("QPSK", -20)) is None
    assert find_symbols(_frames("QPSK", 30)[:, :128]) is None


def _frames(class_name: str, snr_db: int) -> Signal:
    (block,) = generate_cell(class_name, snr_db, 1, 64)
    return np.ascontiguousarray(block).view(np.complex64)[..., 0]
