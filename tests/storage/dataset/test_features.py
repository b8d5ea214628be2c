"""What a network may be given of I/Q samples."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.blocks import FEATURE_CHANNELS, Features
from storage.dataset.features import compute_features

ROTATION = 0.25
"""Radians from sample to sample."""


def make_tone(magnitude: float) -> np.ndarray:
    """Two frames (2, 2, 32) of a rotating phasor, the second a quarter turn behind."""
    phases = ROTATION * np.arange(32) - np.array([[0.0], [np.pi / 2]])
    tone: np.ndarray = (magnitude * np.stack([np.cos(phases), np.sin(phases)], axis=1)).astype(np.float32)
    return tone


def test_iq_is_the_samples_themselves() -> None:
    frames = make_tone(1.0)
    assert compute_features(frames, "iq") is frames


def test_magnitude_and_phase_of_a_tone() -> None:
    magnitude, phase = compute_features(make_tone(2.0), "magnitude_phase")[0]
    np.testing.assert_allclose(magnitude, 2.0, rtol=1e-6)
    turns = ROTATION * np.arange(32)
    np.testing.assert_allclose(phase, np.angle(np.exp(1j * turns)), atol=1e-6)


def test_phase_difference_of_a_tone_is_its_rotation_whatever_its_phase() -> None:
    for magnitude, turn in compute_features(make_tone(0.5), "phase_difference"):
        np.testing.assert_allclose(magnitude, 0.5, rtol=1e-6)
        assert turn[0] == 0
        np.testing.assert_allclose(turn[1:], ROTATION, atol=1e-6)


def test_power_stands_beside_i_and_q() -> None:
    frames = make_tone(3.0)
    features = compute_features(frames, "power")
    np.testing.assert_array_equal(features[:, :2], frames)
    np.testing.assert_allclose(features[:, 2], 9.0, rtol=1e-6)


@pytest.mark.parametrize("features", list(FEATURE_CHANNELS))
def test_shape_and_type(features: Features) -> None:
    computed = compute_features(make_tone(1.0), features)
    assert computed.shape == (2, FEATURE_CHANNELS[features], 32)
    assert computed.dtype == np.float32
