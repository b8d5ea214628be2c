"""The 24 modulations of RadioML 2018.01A as that data set really carries them: waveforms, noise and scaling.

Where the data set departs from its paper (O'Shea, Roy, Clancy 2018, arXiv:1712.04578, table I) the data set is
followed, as read off genuine frames: the pulse, the unipolar ASK, the doubled SNR in dB, the scaling by the standard
deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from storage.cells import Cell, Reals, Signal, generate_blocks, open_cell
from storage.constellations import build_constellations
from storage.pulse_shaping import (
    SAMPLES_PER_SYMBOL,
    delay,
    multiply,
    pass_band,
    root_raised_cosine,
    shape_symbols,
    unit_phasor,
)

CLASS_NAMES = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)
"""Class names in label order: that of the data set's one-hot Y, not of the classes.txt shipped with it."""

SNRS_DB = tuple(range(-20, 32, 2))
"""The data set's SNR labels in dB."""

FRAME_LENGTH = 1024
"""Complex samples per frame."""

_N_SYMBOLS = 160
_LENGTH = _N_SYMBOLS * SAMPLES_PER_SYMBOL
_FIRST_SAMPLE = (_LENGTH - FRAME_LENGTH) // 2
"""A frame is cut from the middle of a longer one, away from its ends."""

_CARRIER_CYCLES_PER_SAMPLE = 1 / 32
_CONSTELLATIONS = build_constellations()


def generate_cell(class_name: str, snr_db: int, seed: int, n_frames: int) -> Iterator[Reals]:
    """Frames of one class at one SNR label, in blocks of shape (frames, 1024, 2) that add up to `n_frames`.

    Frame i depends on (seed, class, SNR, i) alone. Each is scaled by its complex standard deviation; its mean stays.
    """
    cell = open_cell(CLASS_NAMES.index(class_name), snr_db, seed)
    return generate_blocks(cell, n_frames, lambda cell, n: _make_frames(class_name, snr_db, cell, n))


def _make_frames(class_name: str, snr_db: int, cell: Cell, n_frames: int) -> Signal:
    noisy = add_noise(modulate(class_name, cell, n_frames), snr_db, cell.noise)  # (n, 1024)
    return np.asarray(noisy / noisy.std(axis=1, keepdims=True), np.complex64)


def modulate(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """Noiseless frames of one class, complex64 (n_frames, 1024), of arbitrary scale."""
    baseband = _ANALOG.get(class_name) or _DIGITAL.get(class_name) or _linear
    return baseband(class_name, cell, n_frames)


def add_noise(signal: Signal, snr_db: int, noise: np.random.Generator) -> Signal:
    """White noise of power P * 10**(-2 * snr_db / 10), where P is a frame's power with its mean.

    The factor of two is the data set's own: a frame labelled 10 dB has a true SNR of 20 dB.
    """
    power = np.mean(signal.real**2 + signal.imag**2, axis=1, keepdims=True)
    scale = np.sqrt(power / 2 * 10 ** (-2 * snr_db / 10)).astype(np.float32)
    white = noise.standard_normal((*signal.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return np.asarray(signal + scale * white, np.complex64)


@dataclass(frozen=True)
class Channel:
    """What a frame meets on its way, one value per frame."""

    roll_off: NDArray[np.float64]
    delay_samples: NDArray[np.float64]
    phase: NDArray[np.float64]
    carrier_offset: NDArray[np.float64]
    """Radians per sample, constant within a frame."""

    def rotate(self, signal: Signal) -> Signal:
        angle = self.phase[:, None] + self.carrier_offset[:, None] * np.arange(FRAME_LENGTH)
        return multiply(signal, unit_phasor(angle))


def draw_channel(cell: Cell, n_frames: int) -> Channel:
    uniform = cell.channel.random((n_frames, 5))
    gaussian = np.sqrt(-2 * np.log1p(-uniform[:, 3])) * np.cos(2 * np.pi * uniform[:, 4])  # Box-Muller
    return Channel(
        roll_off=0.37 + 0.11 * uniform[:, 0],
        delay_samples=np.floor(SAMPLES_PER_SYMBOL * uniform[:, 1]) + 0.45,
        phase=2 * np.pi * uniform[:, 2],
        carrier_offset=1e-4 * gaussian,
    )


def _linear(class_name: str, cell: Cell, n_frames: int) -> Signal:
    channel = draw_channel(cell, n_frames)
    shaped = shape_symbols(_draw_symbols(class_name, cell, n_frames), channel.roll_off, channel.delay_samples, order=3)
    return channel.rotate(_cut(shaped))


def _oqpsk(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """The quadrature part half a symbol late; the alphabet {1, j, -1, -j} is not turned by 45 degrees."""
    channel = draw_channel(cell, n_frames)
    shaped = shape_symbols(_draw_symbols(class_name, cell, n_frames), channel.roll_off, channel.delay_samples, order=3)
    late = np.roll(shaped.imag, SAMPLES_PER_SYMBOL // 2, axis=1)
    return channel.rotate(_cut(shaped.real + 1j * late))


def _gmsk(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """Gaussian frequency pulses of BT 0.55 and 0.25 rad/sample, then a raised-cosine filter of roll-off 0.40."""
    channel = draw_channel(cell, n_frames)
    bits = 2.0 * cell.symbols.integers(0, 2, (n_frames, _N_SYMBOLS)) - 1
    width_samples = SAMPLES_PER_SYMBOL * np.sqrt(np.log(2)) / (2 * np.pi * 0.55)
    pulses = np.repeat(bits, SAMPLES_PER_SYMBOL, axis=1)
    frequency = 0.25 * scipy.ndimage.gaussian_filter1d(pulses, width_samples, axis=1, mode="wrap")
    spectrum = scipy.fft.fft(unit_phasor(np.cumsum(frequency, axis=1)), axis=1)
    bins = pass_band(_N_SYMBOLS)
    symbol_rates = bins / _N_SYMBOLS
    filtered = np.zeros_like(spectrum)
    raised_cosine = root_raised_cosine(symbol_rates, np.full(n_frames, 0.40)) ** 2
    filtered[:, bins] = multiply(spectrum[:, bins], raised_cosine * delay(symbol_rates, channel.delay_samples))
    return channel.rotate(_cut(scipy.fft.ifft(filtered, axis=1)))


def _fm(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """A complex tone at fs/32 that the message moves by about +-0.001 cycles per sample."""
    channel = draw_channel(cell, n_frames)
    message = _low_pass_message(cell.message.random((n_frames, 6)))
    cycles = np.cumsum(_CARRIER_CYCLES_PER_SAMPLE + 0.0007 * message, axis=1)
    return channel.rotate(unit_phasor(2 * np.pi * cycles))


def _am_dsb(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """A real cosine at fs/32 whose envelope is the message, with (WC) or without (SC) the carrier itself."""
    channel = draw_channel(cell, n_frames)
    uniform = cell.message.random((n_frames, 7))
    message = _low_pass_message(uniform[:, 1:])
    envelope = 1 + 0.12 * message if class_name == "AM-DSB-WC" else message
    carrier = np.cos(2 * np.pi * (_CARRIER_CYCLES_PER_SAMPLE * np.arange(FRAME_LENGTH) + uniform[:, :1]))
    return channel.rotate((envelope * carrier).astype(np.complex64))


def _am_ssb(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """The message itself, a constant plus drift, at a constant phase and not shifted; WC adds the carrier.

    The drift is fitted to the in-phase amplitudes of genuine +30 dB frames: quartiles near +-6 and extremes near +-40
    with carrier, +-4.7 and +-20 without.
    """
    channel = draw_channel(cell, n_frames)
    uniform = cell.message.random((n_frames, 3, 1))
    frequency = 4e-4 * 2.5 ** uniform[:, 0]
    drift = np.cos(2 * np.pi * (frequency * np.arange(FRAME_LENGTH) + uniform[:, 1]))
    message = np.sqrt(2) * (np.cos(2 * np.pi * uniform[:, 2]) + 0.13 * drift)
    envelope = 1 + 0.7 * message if class_name == "AM-SSB-WC" else message
    return np.asarray(envelope * unit_phasor(channel.phase[:, None]), np.complex64)


_DIGITAL: dict[str, Callable[[str, Cell, int], Signal]] = {"OQPSK": _oqpsk, "GMSK": _gmsk}
_ANALOG: dict[str, Callable[[str, Cell, int], Signal]] = {
    "AM-SSB-WC": _am_ssb,
    "AM-SSB-SC": _am_ssb,
    "AM-DSB-WC": _am_dsb,
    "AM-DSB-SC": _am_dsb,
    "FM": _fm,
}


def _draw_symbols(class_name: str, cell: Cell, n_frames: int) -> Signal:
    points = _CONSTELLATIONS[class_name].astype(np.complex64)
    return points[cell.symbols.integers(0, len(points), (n_frames, _N_SYMBOLS))]


def _low_pass_message(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Speech-like messages (n, 1024) of unit mean power, a tenth of a period long, from uniform numbers (n, 6)."""
    frequency = 1e-4 * (0.5 + 0.5 * uniform[:, :3, None])  # cycles per sample
    cycles = frequency * np.arange(FRAME_LENGTH) + uniform[:, 3:, None]  # (n, 3, 1024)
    return np.asarray(np.sqrt(2 / 3) * np.cos(2 * np.pi * cycles).sum(axis=1), np.float64)


def _cut(signal: Signal) -> Signal:
    return signal[:, _FIRST_SAMPLE : _FIRST_SAMPLE + FRAME_LENGTH]
