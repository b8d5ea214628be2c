"""Whether FINN's graph gives the classes that the trained network gave, on recorded frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MIN_AGREEMENT = 0.995
"""Fraction of frames that must get the network's class."""


class VerificationError(Exception):
    """FINN's graph computes something else than the trained network."""


@dataclass(frozen=True)
class Verification:
    """How many recorded frames were run, and how many got the network's class."""

    n_frames: int
    n_classes_equal: int


def verify_outputs(proof: Path, streamlined_outputs: Path) -> Verification:
    """Compares FINN's classes with the logits of the Brevitas model in `proof`.

    Raises VerificationError below MIN_AGREEMENT, or where there is nothing to compare.
    """
    with np.load(proof, allow_pickle=False) as recorded, np.load(streamlined_outputs, allow_pickle=False) as outputs:
        logits, classes, step = recorded["logits"], outputs["classes"], float(outputs["logit_scale"])
    if len(classes) != len(logits) or len(logits) == 0:
        raise VerificationError(
            f"FINN gave {len(classes)} classes for {len(logits)} recorded frames; expected one each"
        )
    n_equal = int(np.count_nonzero(is_class_equal(logits, classes, step)))
    if n_equal < MIN_AGREEMENT * len(logits):
        raise VerificationError(
            f"FINN's streamlined graph gives another class than the trained network on {len(logits) - n_equal} of "
            f"{len(logits)} recorded frames; expected at most {1 - MIN_AGREEMENT:.1%}"
        )
    return Verification(len(logits), n_equal)


def is_class_equal(
    logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], logit_step: float
) -> npt.NDArray[np.bool_]:
    """Per frame, whether `classes` (n,) has the largest of `logits` (n, n_classes).

    Logits are integers times `logit_step`; those less than half a step apart are a tie, in which each class is right.
    """
    chosen = np.take_along_axis(logits, classes[:, np.newaxis], axis=1)[:, 0]
    equal: npt.NDArray[np.bool_] = chosen > logits.max(axis=1) - logit_step / 2
    return equal
