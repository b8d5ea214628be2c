"""The learning rate over a phase: held and then lowered, or cosine with warm restarts."""

from __future__ import annotations

import math

HOLD = 0.5
"""Fraction of a phase in which the rate is held; then it falls to 0."""

WARM_UP = 0.2
"""Fraction of the first phase in which the rate rises."""


def held_learning_rate(highest: float, progress: float, warm_up: float) -> float:
    """The rate when the fraction `progress` of a phase is done: up to `highest` in a line, held, then a cosine to 0.

    `warm_up` is the fraction in which it rises; 0 in phases that go on from a network whose rate was held.
    Source: warm-up, stable, decay (Hu et al., MiniCPM, 2024; Haegele et al., NeurIPS 2024).
    """
    if progress < warm_up:
        return highest * (0.04 + 0.96 * progress / warm_up)
    return cosine_learning_rate(highest, 1.0 - HOLD, max(progress - HOLD, 0.0))


def cosine_learning_rate(highest: float, period: float, elapsed: float) -> float:
    """The rate after `elapsed` epochs, fractions included: `highest` at each restart, then falling to 0.

    Source: Loshchilov and Hutter, ICLR 2017, equation 5. The same as torch's CosineAnnealingWarmRestarts, but without
    an optimizer: a captured step reads it from a tensor.
    """
    return highest * (1 + math.cos(math.pi * (elapsed % period) / period)) / 2
