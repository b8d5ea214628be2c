"""What the analog modulations carry: Gaussian fluctuations that change little within a frame.

The genuine frames of all four AM classes, "suppressed carrier" or not, show a constant with a few per cent of
fluctuation: the spread of their power excludes a message without a mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_N_TONES = 6
"""Enough for a sum of tones to be nearly Gaussian."""


def draw_smooth(random: np.random.Generator, n_frames: int, n_samples: int, band_width: float) -> NDArray[np.float64]:
    """Messages (n_frames, n_samples) of variance 1 and spectrum exp(-(f / band_width)**2), f in cycles per sample."""
    uniform = random.random((n_frames, 3, _N_TONES))
    gaussian = np.sqrt(-2 * np.log1p(-uniform[:, 0])) * np.cos(2 * np.pi * uniform[:, 1])  # Box-Muller
    radians = np.float32(2 * np.pi) * (band_width / np.sqrt(2) * gaussian).astype(np.float32)
    phase = np.float32(2 * np.pi) * uniform[:, 2].astype(np.float32)
    time = np.arange(n_samples, dtype=np.float32)
    message = np.zeros((n_frames, n_samples))
    for tone in range(_N_TONES):
        message += np.cos(radians[:, tone, None] * time + phase[:, tone, None])
    message *= np.sqrt(2 / _N_TONES)
    return message


def draw_tone(
    random: np.random.Generator, n_frames: int, n_samples: int, band: tuple[float, float]
) -> NDArray[np.float64]:
    """Messages (n_frames, n_samples) of variance 1: one tone each, of any phase, in a band of cycles per sample."""
    uniform = random.random((n_frames, 2))
    radians = np.float32(2 * np.pi) * (band[0] + (band[1] - band[0]) * uniform[:, :1]).astype(np.float32)
    phase = np.float32(2 * np.pi) * uniform[:, 1:].astype(np.float32)
    tone = np.cos(radians * np.arange(n_samples, dtype=np.float32) + phase)
    return np.asarray(np.sqrt(2) * tone.astype(np.float64))


def draw_rough(random: np.random.Generator, n_frames: int, n_samples: int, band_width: float) -> NDArray[np.float64]:
    """Messages (n_frames, n_samples) of variance 1 and spectrum 1 / (1 + (f / band_width)**2), f in cycles per sample.

    White noise behind a filter of one pole, in its steady state from the first sample on.
    """
    white = random.standard_normal((n_frames, n_samples))
    pole = np.exp(-2 * np.pi * band_width)
    white[:, 1:] *= np.sqrt(1 - pole**2)
    from scipy.signal import lfilter  # half a second to import, which those who only read a file need not wait for

    return np.asarray(lfilter([1], [1, -pole], white, axis=1), np.float64)
