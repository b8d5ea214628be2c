"""A trained network as a program uses it: I/Q samples in, class names and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.dataset.features import compute_features
from storage.dataset.frames import Frames
from workers.accuracy import EVALUATION_BATCH_SIZE, predict_logits
from workers.functional_quantizers import UnsupportedModuleError
from workers.integer.network import IntegerNetwork, NoIntegerFormError, make_integer_network
from workers.model import Network


@dataclass(frozen=True)
class Classified:
    """What a network says of some frames."""

    names: list[str]
    """Of each frame the class with the highest score; of equal ones the first."""
    scores: NDArray[np.float64]
    """(n, n_classes); higher is more likely. They are sums, not probabilities."""


@dataclass(frozen=True)
class Classifier:
    """A network with the names of its classes."""

    network: Network
    class_names: Sequence[str]
    _integers: IntegerNetwork | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_integers", _make_integers(self.network))

    @property
    def is_exact(self) -> bool:
        """Whether it computes in integers, as the FPGA does: the same on every machine. Float networks do not."""
        return self._integers is not None

    def classify(self, iq: NDArray[np.floating]) -> Classified:
        """What it says of frames (n, frame_length, 2) of I and Q, in the unit of the data it was trained on.

        Raises ValueError for other shapes, and for samples that are not finite.
        """
        architecture = self.network.architecture
        expected = (architecture.frame_length, 2)
        if iq.ndim != 3 or iq.shape[1:] != expected:
            raise ValueError(f"iq has shape {iq.shape}; expected (n, {expected[0]}, {expected[1]})")
        if not np.isfinite(iq).all():
            raise ValueError("iq has NaN or infinite samples; expected finite ones")
        samples = np.ascontiguousarray(np.moveaxis(iq, 2, 1), np.float32)  # (n, 2, frame_length)
        scores = self._score(compute_features(samples, architecture.features))
        return Classified([self.class_names[index] for index in scores.argmax(axis=1)], scores)

    def _score(self, frames: NDArray[np.float32]) -> NDArray[np.float64]:
        if len(frames) == 0:
            return np.zeros((0, len(self.class_names)))
        if self._integers is None:
            none = np.zeros(len(frames), np.int64)
            return predict_logits(self.network.model, Frames(frames, none, none)).astype(np.float64)
        sums = [
            self._integers.sum_classes(self._integers.encode(frames[start : start + EVALUATION_BATCH_SIZE]))
            for start in range(0, len(frames), EVALUATION_BATCH_SIZE)
        ]
        scores: NDArray[np.float64] = np.concatenate(sums) * np.float64(self._integers.logit_scale)
        return scores


def _make_integers(network: Network) -> IntegerNetwork | None:
    try:
        return make_integer_network(network.model)
    except (NoIntegerFormError, UnsupportedModuleError):
        return None
