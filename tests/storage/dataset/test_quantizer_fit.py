"""Input quantizers against samples of other amplitudes than their clip is for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spaces.blocks import InputQuantizer
from storage.dataset.quantizer_fit import choose_clip, find_misfit


def noise(power: float) -> NDArray[np.float32]:
    """64 frames of this mean power of complex samples."""
    values = np.random.default_rng(0).normal(0, np.sqrt(power / 2), (64, 128, 2))
    return values.astype(np.float32)


@pytest.mark.parametrize("bit_width", [2, 3, 8])
@pytest.mark.parametrize("clip", [1.0, 2.0, 3.0])
def test_clips_of_the_papers_fit_frames_of_power_1(bit_width: int, clip: float) -> None:
    assert find_misfit(noise(1.0), InputQuantizer(bit_width=bit_width, clip=clip)) is None


@pytest.mark.parametrize("amplitude", [1e-30, 1e-3, 1.0, 30.0, 1e30])
@pytest.mark.parametrize("bit_width", [2, 8])
def test_chosen_clip_fits_any_amplitude(amplitude: float, bit_width: int) -> None:
    frames = noise(1.0) * np.float32(amplitude)
    clip = choose_clip(frames)
    assert clip == pytest.approx(3 * amplitude, rel=0.02)
    assert find_misfit(frames, InputQuantizer(bit_width=bit_width, clip=clip)) is None


def test_samples_below_half_a_step_are_told_with_their_share() -> None:
    """Frames divided by their sum of magnitudes, as RadioML 2016.10a has them: 1/128 each."""
    misfit = find_misfit(noise(1 / 128**2), InputQuantizer(clip=3.0))
    assert misfit == "96.7% of samples lie below 0.0117, half a step of 8 bits, and become code 0"
    assert find_misfit(noise(1 / 128**2), InputQuantizer(clip=0.03)) is None


def test_samples_of_integer_scale_are_told_to_be_clipped() -> None:
    """Eight-bit I/Q of a receiver, kept as whole numbers."""
    misfit = find_misfit(noise(2 * 100.0**2), InputQuantizer(clip=3.0))
    assert misfit is not None
    assert misfit.endswith("of samples lie above 3 and are clipped")


def test_half_a_step_becomes_code_0() -> None:
    """Codes are rounded to even."""
    frames = np.full((1, 4, 2), 1.0, np.float32)
    misfit = find_misfit(frames, InputQuantizer(bit_width=8, clip=256.0))
    assert misfit is not None
    assert misfit.startswith("100.0% of samples lie below 1, half a step")
    assert find_misfit(frames, InputQuantizer(bit_width=8, clip=255.0)) is None
