"""The learning rate over a phase: held and then lowered, cosine with warm restarts, or lowered on a plateau."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

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


def plateau_learning_rate(highest: float, accuracies: Sequence[float], patience: int, factor: float) -> float:
    """The rate of the epoch that follows epochs with these validation accuracies: torch's ReduceLROnPlateau.

    Times `factor` whenever more than `patience` epochs in a row have not been better than all before.
    """
    optimizer = SGD([torch.zeros(1)], lr=highest)
    scheduler = ReduceLROnPlateau(optimizer, mode="max", factor=factor, patience=patience)
    for accuracy in accuracies:
        scheduler.step(accuracy)
    return float(optimizer.param_groups[0]["lr"])
