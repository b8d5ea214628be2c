"""The learning rate over a phase: cosine with warm restarts (Loshchilov and Hutter, ICLR 2017, equation 5)."""

from __future__ import annotations

import math


def cosine_learning_rate(highest: float, restart_epochs: int, epochs: float) -> float:
    """After `epochs` of the phase, a fraction of one included: `highest` at each restart, falling to 0 in between.

    As torch's CosineAnnealingWarmRestarts has it, but without an optimizer: a captured step reads it from a tensor.
    """
    return highest * (1 + math.cos(math.pi * (epochs % restart_epochs) / restart_epochs)) / 2
