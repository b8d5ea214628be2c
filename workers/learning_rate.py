"""The learning rate over a phase: cosine with warm restarts (Loshchilov and Hutter, ICLR 2017, equation 5)."""

from __future__ import annotations

import math


def cosine_learning_rate(highest: float, restart_epochs: int, epochs: float) -> float:
    """The rate after `epochs` of the phase, fractions included: `highest` at each restart, then falling to 0.

    The same as torch's CosineAnnealingWarmRestarts, but without an optimizer: a captured step reads it from a tensor.
    """
    return highest * (1 + math.cos(math.pi * (epochs % restart_epochs) / restart_epochs)) / 2
