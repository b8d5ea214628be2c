"""The 24 modulations of RadioML 2018.01A as that data set really carries them: waveforms, noise and scaling.

Where the data set departs from its paper (O'Shea, Roy, Clancy 2018, arXiv:1712.04578, table I) the data set is
followed, as read off genuine frames: the pulse, the unipolar ASK, the doubled SNR in dB, the scaling by the standard
deviation of a recording twice as long as the frame. The measured numbers behind the constants, with their source, are
those that tests/storage/genuine_statistics.py holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from storage.signals.cells import Cell, Reals, Signal, generate_blocks, open_cell
from storage.signals.constellations import build_constellations
from storage.signals.messages import draw_rough, draw_smooth, draw_tone
from storage.signals.pulse_shaping import (
    SAMPLES_PER_SYMBOL,
    delay,
    multiply,
    pass_band,
    root_raised_cosine,
    shape_symbols,
    unit_phasor,
)
from storage.signals.radioml_classes import CLASS_NAMES, FRAME_LENGTH

CAPTURE_LENGTH = 2048
"""Samples of the recording whose beginning is a frame; noise and scale are those of the whole of it."""

_N_SYMBOLS = 288
_FIRST_SAMPLE = (_N_SYMBOLS * SAMPLES_PER_SYMBOL - CAPTURE_LENGTH) // 2
"""A capture is cut from the middle of a longer signal, away from its ends."""

TRANSMITTER_ROLL_OFFS = (0.35, 0.70)
"""Roll-off of the first root-raised-cosine filter that a symbol meets, uniform over the frames."""

RECEIVER_ROLL_OFF = 0.38
"""Of the two filters behind it, the same in all frames.

The first 409 samples of a published OOK frame (da-steve101/radio_modulation, models/input_img.csv) give (0.38, 0.38,
0.67). That leaves 0.4 % of the waveform unexplained; three filters of 0.46 leave 0.8 %, (0.40, 0.40, 0.62) 0.5 %, and
the frame's own rounding is 0.3 %. Three equal filters fitted to other frames have 0.37 to 0.48, which is what a varying
first filter before two of 0.38 looks like.
"""

SNR_OFFSET_DB = 0.8
"""What the true SNR is above twice the label. Fitted, to +-0.2 dB, for no proved reason: networks that were trained on
the genuine file read frames of this SNR nearly as accurately as genuine ones, without it 0.7 to 1.4 points worse."""

CARRIER_OFFSET = 2.1e-4
"""Standard deviation over the frames, radians per sample: genuine BPSK frames give |E x**(2 m)| for m = 1, 2, 4."""

CARRIER_CYCLES_PER_SAMPLE = 1 / 32
"""Of FM and AM-DSB. The AM-DSB carrier starts at a sample of its 32: its zeros are samples of the genuine frames."""

FM_DEVIATION = 7e-4
"""Standard deviation, cycles per sample."""

_CONSTELLATIONS = build_constellations()


def generate_cell(class_name: str, snr_db: int, seed: int, n_frames: int) -> Iterator[Reals]:
    """Frames of one class at one SNR label, in blocks of shape (frames, 1024, 2) that add up to `n_frames`.

    Frame i depends on (seed, class, SNR, i) alone. Captures are scaled by their standard deviation; their means stay.
    """
    cell = open_cell(CLASS_NAMES.index(class_name), snr_db, seed)
    return generate_blocks(cell, n_frames, lambda cell, n: capture(class_name, snr_db, cell, n)[:, :FRAME_LENGTH])


def capture(class_name: str, snr_db: int, cell: Cell, n_frames: int) -> Signal:
    """Noisy captures (n_frames, 2048) of standard deviation 1, their mean kept."""
    noisy = add_noise(modulate(class_name, cell, n_frames), snr_db, cell.noise)
    return np.asarray(noisy / noisy.std(axis=1, keepdims=True), np.complex64)


def modulate(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """Noiseless captures of one class, complex64 (n_frames, 2048), of arbitrary scale."""
    baseband = _ANALOG.get(class_name) or _DIGITAL.get(class_name) or _linear
    return baseband(class_name, cell, n_frames)


def add_noise(signal: Signal, snr_db: int, noise: np.random.Generator) -> Signal:
    """White noise of power P * 10**(-(2 * snr_db + SNR_OFFSET_DB) / 10), P a capture's power with its mean.

    The factor of two is the data set's own: a frame labelled 10 dB has a true SNR of about 20 dB.
    """
    power = np.mean(signal.real**2 + signal.imag**2, axis=1, keepdims=True)
    scale = np.sqrt(power / 2 * 10 ** (-(2 * snr_db + SNR_OFFSET_DB) / 10)).astype(np.float32)
    white = noise.standard_normal((*signal.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return np.asarray(signal + scale * white, np.complex64)


@dataclass(frozen=True)
class Channel:
    """What a capture meets on its way, one value per frame."""

    roll_off: NDArray[np.float64]
    """The transmitter's."""
    delay_samples: NDArray[np.float64]
    phase: NDArray[np.float64]
    carrier_offset: NDArray[np.float64]
    """Radians per sample, constant within a capture."""
    carrier_start: NDArray[np.float64]
    """Where a real carrier at fs/32 starts: a whole number of samples, 0 to 31."""

    def rotate(self, signal: Signal) -> Signal:
        angle = self.phase[:, None] + self.carrier_offset[:, None] * np.arange(CAPTURE_LENGTH)
        return multiply(signal, unit_phasor(angle))

    def pulse(self, symbol_rates: NDArray[np.float64]) -> Reals:
        """Spectrum (n, k) at `symbol_rates` (k,): the transmitter's filter and the two behind it."""
        receiver = root_raised_cosine(symbol_rates, np.array([RECEIVER_ROLL_OFF])) ** 2
        return np.asarray(root_raised_cosine(symbol_rates, self.roll_off) * receiver, np.float32)


def draw_channel(cell: Cell, n_frames: int) -> Channel:
    uniform = cell.channel.random((n_frames, 6))
    gaussian = np.sqrt(-2 * np.log1p(-uniform[:, 3])) * np.cos(2 * np.pi * uniform[:, 4])  # Box-Muller
    return Channel(
        roll_off=TRANSMITTER_ROLL_OFFS[0] + (TRANSMITTER_ROLL_OFFS[1] - TRANSMITTER_ROLL_OFFS[0]) * uniform[:, 0],
        delay_samples=np.floor(SAMPLES_PER_SYMBOL * uniform[:, 1]) + 0.5,
        phase=2 * np.pi * uniform[:, 2],
        carrier_offset=CARRIER_OFFSET * gaussian,
        carrier_start=np.floor(uniform[:, 5] / CARRIER_CYCLES_PER_SAMPLE),
    )


def _linear(class_name: str, cell: Cell, n_frames: int) -> Signal:
    channel = draw_channel(cell, n_frames)
    shaped = shape_symbols(_draw_symbols(class_name, cell, n_frames), channel.pulse, channel.delay_samples)
    return channel.rotate(_cut(shaped))


def _oqpsk(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """The quadrature part half a symbol late; the alphabet {1, j, -1, -j} is not turned by 45 degrees."""
    channel = draw_channel(cell, n_frames)
    shaped = shape_symbols(_draw_symbols(class_name, cell, n_frames), channel.pulse, channel.delay_samples)
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
    message = draw_smooth(cell.message, n_frames, CAPTURE_LENGTH, band_width=1.4e-4)
    cycles = np.cumsum(CARRIER_CYCLES_PER_SAMPLE + FM_DEVIATION * message, axis=1)
    return channel.rotate(unit_phasor(2 * np.pi * cycles))


def _am_dsb(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """A real cosine at fs/32 times a slow envelope. Without carrier the envelope also has a tone.

    The tone is why few frames without carrier have an envelope as constant as those with one.
    """
    channel = draw_channel(cell, n_frames)
    if class_name == "AM-DSB-WC":
        envelope = 1 + 0.10 * draw_smooth(cell.message, n_frames, CAPTURE_LENGTH, band_width=1.4e-4)
    else:
        smooth = 0.12 * draw_smooth(cell.message, n_frames, CAPTURE_LENGTH, band_width=2.8e-4)
        tone = 0.068 * draw_tone(cell.symbols, n_frames, CAPTURE_LENGTH, band=(5e-4, 1.5e-3))
        envelope = 1 + smooth + tone
    samples = channel.carrier_start[:, None] + np.arange(CAPTURE_LENGTH)
    carrier = np.cos(2 * np.pi * CARRIER_CYCLES_PER_SAMPLE * samples)
    return channel.rotate((envelope * carrier).astype(np.complex64))


def _am_ssb(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """A slow envelope alone, not shifted: scaled by what little it changes, its amplitude is up to 40 or 70."""
    channel = draw_channel(cell, n_frames)
    if class_name == "AM-SSB-WC":
        smooth = 0.13 * draw_smooth(cell.message, n_frames, CAPTURE_LENGTH, band_width=2.2e-4)
        rough = 0.031 * draw_rough(cell.symbols, n_frames, CAPTURE_LENGTH, band_width=7.6e-4)
    else:
        smooth = 0.15 * draw_smooth(cell.message, n_frames, CAPTURE_LENGTH, band_width=3.9e-4)
        rough = 0.048 * draw_rough(cell.symbols, n_frames, CAPTURE_LENGTH, band_width=1.4e-3)
    return channel.rotate((1 + smooth + rough).astype(np.complex64))


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


def _cut(signal: Signal) -> Signal:
    return signal[:, _FIRST_SAMPLE : _FIRST_SAMPLE + CAPTURE_LENGTH]
