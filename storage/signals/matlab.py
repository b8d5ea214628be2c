"""Eleven modulations as in MATLAB's example "Modulation Classification with Deep Learning".

From the example (mathworks.com/help/comm/ug/modulation-classification-with-deep-learning.html and the functions it
ships): the classes; 200 kHz, 8 samples per symbol, frames of 1024 samples cut 50 to 58 samples after the start; linear
modulations with a root-raised-cosine pulse of roll-off 0.35 that spans 4 symbols; GFSK with BT 0.35 and index 1, the
pulse one symbol long as comm.CPMModulator has it by default; CPFSK with index 0.5; B-FM with 75 kHz deviation and
75 us pre-emphasis; DSB-AM and SSB-AM (lower sideband), without carrier, as real signals at 50 kHz; then a Rician
channel, one clock that is off by up to 5 ppm for sample rate and carrier (902 MHz digital, 100 MHz analog), white noise
at 30 dB, and frames of power 1.

Ours: the audio file is replaced by a speech-like source of amplitude 0.1; noise is relative to each frame's own power,
where the example takes it for 1; path gains move along a straight line within a frame, their ends correlated as
Jakes' spectrum has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.special import j0

from storage.signals.cells import Cell, Reals, Signal, generate_blocks, open_cell
from storage.signals.constellations import Points, build_constellations
from storage.signals.frequency_modulation import (
    RECTANGULAR_PULSE,
    FrequencyPulse,
    gaussian_pulse,
    modulate_bits,
    modulate_message,
)
from storage.signals.propagation import (
    GUARD_SAMPLES,
    add_white_noise,
    angular_frequencies,
    cut_frames,
    delay_response,
    filter_drifting,
    gaussian,
    scale_to_unit_power,
    shift_frequency,
    taper_ends,
)
from storage.signals.pulse_shaping import SAMPLES_PER_SYMBOL, multiply, unit_phasor
from storage.signals.speech import SAMPLE_RATE_HZ, draw_speech

CLASS_NAMES = ("BPSK", "QPSK", "8PSK", "16QAM", "64QAM", "PAM4", "GFSK", "CPFSK", "B-FM", "DSB-AM", "SSB-AM")
"""Class names in label order."""

SNRS_DB = (30,)

FRAME_LENGTH = 1024
"""Complex samples per frame."""

PATH_DELAYS_SAMPLES = (0.0, 1.8, 3.4)
PATH_GAINS_DB = (0.0, -2.0, -10.0)
"""Average gains; together they are scaled to 1, as comm.RicianChannel does."""

K_FACTOR = 4.0
"""Power of the first path's line of sight over that of its scattered part."""

MAX_DOPPLER_HZ = 4.0
MAX_CLOCK_OFFSET = 5e-6
DIGITAL_CARRIER_HZ, ANALOG_CARRIER_HZ = 902e6, 100e6

_ANALOG_CLASSES = ("B-FM", "DSB-AM", "SSB-AM")
_LENGTH = FRAME_LENGTH + 2 * GUARD_SAMPLES
_N_SYMBOLS = _LENGTH // SAMPLES_PER_SYMBOL
_TRANSIENT_SAMPLES = 50
_INTERMEDIATE_CYCLES = 50_000 / SAMPLE_RATE_HZ
_AUDIO_LEVEL = 0.1


def generate_cell(class_name: str, snr_db: int, seed: int, n_frames: int) -> Iterator[Reals]:
    """Frames of one class at one SNR label, in blocks of shape (frames, 1024, 2) that add up to `n_frames`.

    Frame i depends on (seed, class, SNR, i) alone. Each has power 1, its mean included.
    """
    cell = open_cell(CLASS_NAMES.index(class_name), snr_db, seed)
    return generate_blocks(cell, n_frames, lambda cell, n: _make_frames(class_name, snr_db, cell, n))


@dataclass(frozen=True)
class RicianChannel:
    """What a frame meets on its way."""

    gains_at_start: NDArray[np.complex128]
    """(n, 3): of each path, at the frame's first sample."""
    gains_at_end: NDArray[np.complex128]
    clock_offset: NDArray[np.float64]
    """(n,): part by which the receiver's clock is too fast."""
    offset_samples: NDArray[np.float64]
    """(n,): where the frame starts, from 0 to one symbol."""


def draw_channel(cell: Cell, n_frames: int) -> RicianChannel:
    uniform = cell.channel.random((n_frames, 14))
    scattered = gaussian(uniform[:, 2:].reshape(n_frames, 6, 2))
    correlation = j0(2 * np.pi * MAX_DOPPLER_HZ * FRAME_LENGTH / SAMPLE_RATE_HZ)
    at_start = scattered[:, :3]
    at_end = correlation * at_start + np.sqrt(1 - correlation**2) * scattered[:, 3:]
    return RicianChannel(
        gains_at_start=_weigh_paths(at_start),
        gains_at_end=_weigh_paths(at_end),
        clock_offset=MAX_CLOCK_OFFSET * (2 * uniform[:, 0] - 1),
        offset_samples=np.floor((SAMPLES_PER_SYMBOL + 1) * uniform[:, 1]),
    )


def modulate(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """Signals (n_frames, 1280) before the channel, of arbitrary scale and ready for filters by FFT."""
    return _MODULATORS.get(class_name, _linear)(class_name, cell, n_frames)


def transmit(signal: Signal, channel: RicianChannel, carrier_hz: float) -> Signal:
    """Noiseless frames (n, 1024) of signals (n, 1280)."""
    slope = (channel.gains_at_end - channel.gains_at_start) / FRAME_LENGTH
    middle = channel.gains_at_start + slope * FRAME_LENGTH / 2
    early = delay_response(_LENGTH, -channel.offset_samples)
    response, drift = (multiply(early, _frequency_response(gains)) for gains in (middle, slope))
    received = cut_frames(filter_drifting(signal, response, drift, -channel.clock_offset))
    carrier_offset = -channel.clock_offset * carrier_hz / SAMPLE_RATE_HZ  # cycles per sample
    samples_before = _TRANSIENT_SAMPLES + channel.offset_samples
    return shift_frequency(received, carrier_offset, phase=2 * np.pi * carrier_offset * samples_before)


def _make_frames(class_name: str, snr_db: int, cell: Cell, n_frames: int) -> Signal:
    carrier_hz = ANALOG_CARRIER_HZ if class_name in _ANALOG_CLASSES else DIGITAL_CARRIER_HZ
    received = transmit(modulate(class_name, cell, n_frames), draw_channel(cell, n_frames), carrier_hz)
    return scale_to_unit_power(add_white_noise(received, snr_db, cell.noise))


def _weigh_paths(scattered: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Gains of the three paths from scattered parts of power 1; the first has a line of sight beside it."""
    power = 10 ** (np.array(PATH_GAINS_DB) / 10)
    gains = np.asarray(scattered * np.sqrt(power / power.sum()), np.complex128)
    gains[:, 0] = (gains[:, 0] + np.sqrt(K_FACTOR * power[0] / power.sum())) / np.sqrt(K_FACTOR + 1)
    return gains


def _frequency_response(gains: NDArray[np.complex128]) -> Signal:
    frequencies = angular_frequencies(_LENGTH)
    response = np.zeros((len(gains), _LENGTH), np.complex64)
    for path, delay_samples in enumerate(PATH_DELAYS_SAMPLES):
        lag = unit_phasor(-frequencies * delay_samples)
        response += multiply(gains[:, path : path + 1].astype(np.complex64), lag)
    return response


def _linear(class_name: str, cell: Cell, n_frames: int) -> Signal:
    points = ALPHABETS[class_name].astype(np.complex64)
    symbols = points[cell.symbols.integers(0, len(points), (n_frames, _N_SYMBOLS))]
    spectrum = np.tile(scipy.fft.fft(symbols, axis=1), SAMPLES_PER_SYMBOL)  # of symbols with zeros between
    return np.asarray(scipy.fft.ifft(spectrum * _PULSE_SPECTRUM, axis=1), np.complex64)


def _frequency_shift_keying(class_name: str, cell: Cell, n_frames: int) -> Signal:
    bits = cell.symbols.integers(0, 2, (n_frames, _N_SYMBOLS))
    pulse, modulation_index = _KEYING[class_name]
    return taper_ends(modulate_bits(bits, pulse, modulation_index))


def _broadcast_fm(class_name: str, cell: Cell, n_frames: int) -> Signal:
    audio = draw_speech(cell.message, n_frames, _LENGTH, pre_emphasis_s=75e-6).real
    return taper_ends(modulate_message(audio, _AUDIO_LEVEL * 75_000 / SAMPLE_RATE_HZ))


def _am(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """DSB: m cos wt. SSB: m cos wt + n sin wt, the lower sideband, where n is the Hilbert transform of m."""
    audio = draw_speech(cell.message, n_frames, _LENGTH)
    carrier = unit_phasor(np.asarray(2 * np.pi * _INTERMEDIATE_CYCLES * np.arange(_LENGTH), np.float64))
    in_phase = audio.real * carrier.real
    real = in_phase if class_name == "DSB-AM" else in_phase + audio.imag * carrier.imag
    return taper_ends(real.astype(np.complex64))


_KEYING: dict[str, tuple[FrequencyPulse, float]] = {
    "GFSK": (gaussian_pulse(bandwidth_time=0.35, n_symbols=1), 1.0),
    "CPFSK": (RECTANGULAR_PULSE, 0.5),
}
"""Frequency pulse and modulation index."""

_MODULATORS: dict[str, Callable[[str, Cell, int], Signal]] = {
    "GFSK": _frequency_shift_keying,
    "CPFSK": _frequency_shift_keying,
    "B-FM": _broadcast_fm,
    "DSB-AM": _am,
    "SSB-AM": _am,
}


def _build_alphabets() -> dict[str, Points]:
    points = build_constellations()
    same = {name: points[name] for name in ("BPSK", "8PSK", "16QAM", "64QAM")}
    alphabets = {**same, "QPSK": points["QPSK"] * np.exp(0.25j * np.pi), "PAM4": np.arange(-3, 4, 2) + 0j}
    return {name: points / np.sqrt(np.mean(np.abs(points) ** 2)) for name, points in alphabets.items()}


ALPHABETS = _build_alphabets()
"""The symbols of each linear modulation, equally frequent, of mean power 1."""


def short_root_raised_cosine(roll_off: float, span_symbols: int) -> NDArray[np.float64]:
    """Root-raised-cosine taps at eight samples per symbol, cut to the span, of energy 1 (MATLAB's rcosdesign)."""
    half = span_symbols * SAMPLES_PER_SYMBOL // 2
    time = np.arange(-half, half + 1) / SAMPLES_PER_SYMBOL  # symbols; 1 / (4 roll_off) must not be among them
    with np.errstate(invalid="ignore"):
        taps = (np.sin(np.pi * time * (1 - roll_off)) + 4 * roll_off * time * np.cos(np.pi * time * (1 + roll_off))) / (
            np.pi * time * (1 - (4 * roll_off * time) ** 2)
        )
    taps[half] = 1 - roll_off + 4 * roll_off / np.pi
    return np.asarray(taps / np.sqrt(np.sum(taps**2)), np.float64)


def _pulse_spectrum() -> Reals:
    taps = short_root_raised_cosine(roll_off=0.35, span_symbols=4)
    centred = np.zeros(_LENGTH)
    centred[: len(taps)] = taps
    return np.asarray(np.fft.fft(np.roll(centred, -(len(taps) // 2))).real, np.float32)


_PULSE_SPECTRUM = _pulse_spectrum()
