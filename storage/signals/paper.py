"""The 24 modulations as the paper of RadioML 2018.01A describes them, where the data set itself departs from it.

From O'Shea, Roy, Clancy, "Over-the-Air Deep Learning Based Radio Signal Classification" (2018, arXiv:1712.04578), table
I: roll-off U(0.1, 0.4), timing offset U(0, 16) samples, carrier phase U(0, 2 pi), errors of sample rate and carrier
frequency N(0, sigma_clk); the SNR labels literally, and frames of power 1. No multipath, which the paper adds apart.

Ours, for the paper leaves it open: sigma_clk 0.0001, the smaller of its two oscillators, as a part of the sample rate
for both errors; 8 samples per symbol; 4ASK and 8ASK with both signs (as in TorchSig); APSK rings of DVB-S2 at code rate
9/10 and of DVB-S2X; GMSK with BT 0.3; speech-like messages at 200 kHz, AM carriers of depth 0.25, FM with 75 kHz
deviation at amplitude 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.signals.cells import Cell, Reals, Signal, generate_blocks, open_cell
from storage.signals.constellations import Points, build_constellations
from storage.signals.frequency_modulation import gaussian_pulse, modulate_bits, modulate_message
from storage.signals.propagation import (
    GUARD_SAMPLES,
    add_white_noise,
    cut_frames,
    delay_response,
    filter_drifting,
    gaussian,
    scale_to_unit_power,
    shift_frequency,
    taper_ends,
)
from storage.signals.pulse_shaping import SAMPLES_PER_SYMBOL, root_raised_cosine, shape_symbols
from storage.signals.radioml_classes import CLASS_NAMES, FRAME_LENGTH
from storage.signals.speech import SAMPLE_RATE_HZ, draw_speech

SIGMA_CLOCK = 1e-4
"""Standard deviation of the errors of sample rate and carrier frequency, as parts of the sample rate."""

APSK_RINGS = {
    "16APSK": ((4, 1.0, 1 / 4), (12, 2.57, 1 / 12)),
    "32APSK": ((4, 1.0, 1 / 4), (12, 2.53, 1 / 12), (16, 4.30, 0.0)),
    "64APSK": ((4, 1.0, 1 / 4), (12, 2.4, 1 / 12), (20, 4.3, 1 / 20), (28, 7.0, 1 / 28)),
}
"""(points, radius, first angle in units of pi) of each ring: 16 and 32 of DVB-S2 at code rate 9/10 (ETSI EN 302 307-1,
tables 9 and 10), 64 of DVB-S2X at 132/180 (EN 302 307-2)."""

_LENGTH = FRAME_LENGTH + 2 * GUARD_SAMPLES
_N_SYMBOLS = _LENGTH // SAMPLES_PER_SYMBOL
_AM_DEPTH = 0.25
_FM_DEVIATION = 75_000 / SAMPLE_RATE_HZ
_GMSK_PULSE = gaussian_pulse(bandwidth_time=0.3, n_symbols=4)


def generate_cell(class_name: str, snr_db: int, seed: int, n_frames: int) -> Iterator[Reals]:
    """Frames of one class at one SNR label, in blocks of shape (frames, 1024, 2) that add up to `n_frames`.

    Frame i depends on (seed, class, SNR, i) alone. Each has power 1, its mean included.
    """
    cell = open_cell(CLASS_NAMES.index(class_name), snr_db, seed)
    return generate_blocks(cell, n_frames, lambda cell, n: _make_frames(class_name, snr_db, cell, n))


@dataclass(frozen=True)
class Impairments:
    """Table I of the paper, one value per frame."""

    roll_off: NDArray[np.float64]
    timing_offset: NDArray[np.float64]
    """Samples."""
    phase: NDArray[np.float64]
    rate_error: NDArray[np.float64]
    """Part of the sample rate."""
    carrier_offset: NDArray[np.float64]
    """Cycles per sample."""


def draw_impairments(cell: Cell, n_frames: int) -> Impairments:
    uniform = cell.channel.random((n_frames, 5))
    errors = gaussian(uniform[:, 3:])  # real and imaginary part are independent, of power 1/2
    return Impairments(
        roll_off=0.1 + 0.3 * uniform[:, 0],
        timing_offset=16 * uniform[:, 1],
        phase=2 * np.pi * uniform[:, 2],
        rate_error=np.sqrt(2) * SIGMA_CLOCK * errors.real,
        carrier_offset=np.sqrt(2) * SIGMA_CLOCK * errors.imag,
    )


def modulate(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """Signals (n, 1280) before they meet any impairment, of arbitrary scale and ready for filters by FFT."""
    return _MODULATORS.get(class_name, _linear)(class_name, cell, roll_off)


def impair(signal: Signal, impairments: Impairments) -> Signal:
    """Noiseless frames (n, 1024) of signals (n, 1280)."""
    late = delay_response(_LENGTH, impairments.timing_offset)
    received = filter_drifting(signal, late, np.zeros_like(late), impairments.rate_error)
    return shift_frequency(cut_frames(received), impairments.carrier_offset, impairments.phase)


def _make_frames(class_name: str, snr_db: int, cell: Cell, n_frames: int) -> Signal:
    impairments = draw_impairments(cell, n_frames)
    received = impair(modulate(class_name, cell, impairments.roll_off), impairments)
    return scale_to_unit_power(add_white_noise(received, snr_db, cell.noise))


def _linear(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """One root-raised-cosine pulse per symbol."""
    points = ALPHABETS[class_name].astype(np.complex64)
    symbols = points[cell.symbols.integers(0, len(points), (len(roll_off), _N_SYMBOLS))]
    return shape_symbols(symbols, lambda rates: root_raised_cosine(rates, roll_off), np.zeros(len(roll_off)))


def _oqpsk(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """The quadrature part half a symbol late."""
    signal = _linear(class_name, cell, roll_off)
    return np.asarray(signal.real + 1j * np.roll(signal.imag, SAMPLES_PER_SYMBOL // 2, axis=1), np.complex64)


def _gmsk(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """Modulation index 1/2."""
    bits = cell.symbols.integers(0, 2, (len(roll_off), _N_SYMBOLS))
    return taper_ends(modulate_bits(bits, _GMSK_PULSE, modulation_index=0.5))


def _fm(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """A message of amplitude 0.1 on average: deviations of 7.5 kHz."""
    message = draw_speech(cell.message, len(roll_off), _LENGTH).real
    return taper_ends(modulate_message(message, 0.1 * _FM_DEVIATION))


def _am(class_name: str, cell: Cell, roll_off: NDArray[np.float64]) -> Signal:
    """Both sidebands: the message itself. One: its positive frequencies. WC: beside a carrier of 1."""
    message = draw_speech(cell.message, len(roll_off), _LENGTH)
    sidebands = message if "SSB" in class_name else message.real
    return taper_ends(np.asarray(1 + _AM_DEPTH * sidebands if "WC" in class_name else sidebands, np.complex64))


_MODULATORS: dict[str, Callable[[str, Cell, NDArray[np.float64]], Signal]] = {
    "OQPSK": _oqpsk,
    "GMSK": _gmsk,
    "FM": _fm,
    "AM-SSB-WC": _am,
    "AM-SSB-SC": _am,
    "AM-DSB-WC": _am,
    "AM-DSB-SC": _am,
}


def _build_alphabets() -> dict[str, Points]:
    ask = {"4ASK": np.arange(-3, 4, 2) + 0j, "8ASK": np.arange(-7, 8, 2) + 0j}
    apsk = {name: np.concatenate([_ring(*ring) for ring in rings]) for name, rings in APSK_RINGS.items()}
    standard = build_constellations()
    return {**standard, **ask, **apsk, "OQPSK": standard["QPSK"] * np.exp(0.25j * np.pi)}


def _ring(n_points: int, radius: float, first_angle: float) -> Points:
    return np.asarray(radius * np.exp(1j * np.pi * (first_angle + 2 * np.arange(n_points) / n_points)), np.complex128)


ALPHABETS = _build_alphabets()
"""The symbols of each linear modulation, equally frequent, of arbitrary scale."""
