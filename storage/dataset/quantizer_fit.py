"""Whether an input quantizer fits the samples of a data set: a clip for other amplitudes loses nearly all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.blocks import InputQuantizer
from storage.dataset.input_codes import quantizer_scale

LOST_SHARE = 0.9
"""Share of samples at code 0, or clipped, from which on nearly all are lost. The default clip loses some 2 %."""

_CLIP_PER_AMPLITUDE = 3.0
"""Clip of `InputQuantizer` over the root mean square of complex amplitudes, which is 1 in RadioML 2018.01A."""


def choose_clip(frames: NDArray[np.float32]) -> float:
    """A clip that fits frames (n, frame_length, 2) with a signal, in their unit: the default, for their power."""
    return _CLIP_PER_AMPLITUDE * float(np.sqrt(2 * np.square(frames, dtype=np.float64).mean()))


def find_misfit(frames: NDArray[np.float32], quantizer: InputQuantizer) -> str | None:
    """How the quantizer loses nearly all samples of frames (n, frame_length, 2); None where it does not."""
    magnitudes, step = np.abs(frames), quantizer_scale(quantizer)
    shares = {
        f"below {step / 2:.3g}, half a step of {quantizer.bit_width} bits, and become code 0": magnitudes <= step / 2,
        f"above {quantizer.clip:.3g} and are clipped": magnitudes > quantizer.clip,
    }
    for fate, is_lost in shares.items():
        if is_lost.mean() >= LOST_SHARE:
            return f"{is_lost.mean():.1%} of samples lie {fate}"
    return None
