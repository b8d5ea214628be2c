"""Nine digital modulations at one sample per symbol, in frames of 32 symbols with white noise and phase noise.

From the source (J. Rothe, "Quantization and Pruning of CNNs for Efficient FPGA Implementation of Digital Modulation
Detection Firmware", Johns Hopkins M.S. thesis, 2024): nine digital modulations, frames of 32 I/Q samples of one of
them, 16QAM levels +-1 and +-3 divided by 3, noise (randn + j randn) / sqrt(2) scaled by a noise power, and phase noise.
Symbols, a random phase of 0.1 rad on each, then noise times the root of its power: so PySDR's guide does it
(pysdr.org/content/digital_modulation.html).

Ours, for the thesis' slides do not say: which nine, the SNR labels, one sample per symbol, and that the other
alphabets reach 1 too. A label is the SNR of a symbol of power 1, so the noise of a cell is the same for all classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from storage.signals.cells import Cell, Reals, Signal, generate_blocks, open_cell
from storage.signals.constellations import Points, build_constellations
from storage.signals.propagation import draw_white
from storage.signals.pulse_shaping import multiply, unit_phasor

CLASS_NAMES = ("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "16QAM", "64QAM")
"""Class names in label order."""

SNRS_DB = tuple(range(0, 32, 2))
"""The SNR labels in dB; PySDR's noise power of 0.01 is 20 dB."""

FRAME_LENGTH = 32
"""Complex samples per frame, each a symbol."""

PHASE_NOISE_RAD = 0.1
"""Standard deviation of each symbol's phase (PySDR)."""


def generate_cell(class_name: str, snr_db: int, seed: int, n_frames: int) -> Iterator[Reals]:
    """Frames of one class at one SNR label, in blocks of shape (frames, 32, 2) that add up to `n_frames`.

    Frame i depends on (seed, class, SNR, i) alone. Frames are not scaled: the levels above are what they hold.
    """
    cell = open_cell(CLASS_NAMES.index(class_name), snr_db, seed)
    return generate_blocks(cell, n_frames, lambda cell, n: _make_frames(class_name, snr_db, cell, n))


def draw_symbols(class_name: str, cell: Cell, n_frames: int) -> Signal:
    """Frames (n_frames, 32) of clean symbols."""
    points = ALPHABETS[class_name].astype(np.complex64)
    return points[cell.symbols.integers(0, len(points), (n_frames, FRAME_LENGTH))]


def _make_frames(class_name: str, snr_db: int, cell: Cell, n_frames: int) -> Signal:
    symbols = draw_symbols(class_name, cell, n_frames)
    phase = PHASE_NOISE_RAD * cell.channel.standard_normal(symbols.shape)
    scale = np.float32(np.sqrt(10 ** (-snr_db / 10) / 2))
    white = scale * draw_white(symbols.shape, cell.noise)
    return np.asarray(multiply(symbols, unit_phasor(phase)) + white, np.complex64)


def _build_alphabets() -> dict[str, Points]:
    points = build_constellations()
    ask = {name: points[name] / points[name].real.max() for name in ("OOK", "4ASK", "8ASK")}
    psk = {name: points[name] for name in ("BPSK", "QPSK", "8PSK", "16PSK")}
    qam = {name: points[name] / points[name].real.max() for name in ("16QAM", "64QAM")}
    return {**ask, **psk, **qam}


ALPHABETS = _build_alphabets()
"""The symbols of each class, equally frequent; the greatest I and Q are 1."""
