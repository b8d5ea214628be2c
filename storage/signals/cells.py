"""The frames of one cell (a class at one SNR label), block by block, and the random streams they are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float32]
Signal = NDArray[np.complex64]

BLOCK_FRAMES = 256
"""Frames made at a time: large enough for one FFT call, small enough for the cache."""

_VECTOR_FRAMES = 16
"""Blocks are whole multiples of this: an FFT rounds the frames left over by the CPU's vector width differently."""

_LOWEST_SNR_DB = -1000
"""Below any SNR label: what is counted from it is never negative, as the keys of random streams must be."""


@dataclass(frozen=True)
class Cell:
    """The random streams of one cell; each is drawn from once a block, in frame order: all block sizes agree."""

    channel: np.random.Generator
    symbols: np.random.Generator
    message: np.random.Generator
    noise: np.random.Generator


def open_cell(label: int, snr_db: int, seed: int) -> Cell:
    """The streams of class `label` at one SNR label."""
    streams = np.random.SeedSequence(seed, spawn_key=(label, snr_db - _LOWEST_SNR_DB)).spawn(4)
    return Cell(*(np.random.Generator(np.random.SFC64(stream)) for stream in streams))


def generate_blocks(
    cell: Cell, n_frames: int, make_frames: Callable[[Cell, int], Signal], block_frames: int = BLOCK_FRAMES
) -> Iterator[Reals]:
    """Frames in blocks of shape (frames, samples, 2), I then Q, that add up to `n_frames`.

    `make_frames(cell, n)` gives the cell's next n frames, complex64 (n, samples).
    """
    for first in range(0, n_frames, block_frames):
        wanted = min(block_frames, n_frames - first)
        n = -(-wanted // _VECTOR_FRAMES) * _VECTOR_FRAMES
        frames = np.ascontiguousarray(make_frames(cell, n), np.complex64)  # (n, samples)
        yield frames.view(np.float32).reshape(n, -1, 2)[:wanted]
