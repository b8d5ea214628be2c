"""What a network is given of I/Q samples, computed on the host ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


def compute_features(samples: NDArray[np.float32], features: str) -> NDArray[np.float32]:
    """The channels (n, k, length) of frames (n, 2, length), I and then Q; of `iq` the frames themselves.

    They are computed in double precision: then a last digit that another machine computes otherwise is rounded away,
    but for very few samples.
    """
    if features == "iq":
        return samples
    signal = samples[:, 0].astype(np.complex128)  # (n, length)
    signal.imag = samples[:, 1]
    return np.stack(_COMPUTE[features](signal), axis=1).astype(np.float32)


def _magnitude_phase(signal: Complex) -> list[Floats]:
    return [np.abs(signal), np.angle(signal)]


def _phase_difference(signal: Complex) -> list[Floats]:
    """The angle from each sample to the next; the first sample has 0."""
    turns = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    return [np.abs(signal), np.pad(turns, ((0, 0), (1, 0)))]


def _power(signal: Complex) -> list[Floats]:
    return [signal.real, signal.imag, np.square(signal.real) + np.square(signal.imag)]


_COMPUTE: Mapping[str, Callable[[Complex], list[Floats]]] = {
    "magnitude_phase": _magnitude_phase,
    "phase_difference": _phase_difference,
    "power": _power,
}
