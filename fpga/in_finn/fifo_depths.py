"""How deep the FIFO beside a residual branch must be, computed, not simulated.

A fork gives each pixel to the branch and to the FIFO; the sum behind takes from both. Until the branch gives its first
pixel, the FIFO must take all that the branch takes in, else the fork waits for the sum, the branch for the fork, and
the sum for the branch. What the branch takes in is what its windows must see beyond their first pixel, and, so that no
pixel is late, what its layers have in work: their latency at the rate of the slowest of them (Little's law).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PIPELINE_CYCLES = 16
"""From a layer's last input of a pixel to its first output: an allowance for registers, of which FINN says nothing."""


@dataclass(frozen=True)
class BranchLayer:
    """One layer of a branch that keeps the length of its frames."""

    cycles: float
    """Clock cycles per pixel that it puts out."""
    lookahead: int
    """Pixels that must have come, beyond the first, before it puts out its first."""


def count_pixels_in_branch(fork_cycles: float, layers: Sequence[BranchLayer]) -> int:
    """Pixels that the branch takes in before its first output, and that it holds at its full rate.

    `fork_cycles` are the fork's clock cycles per pixel.
    """
    slowest = max(fork_cycles, *(layer.cycles for layer in layers))
    latency = sum(layer.cycles + PIPELINE_CYCLES for layer in layers)
    return 1 + sum(layer.lookahead for layer in layers) + math.ceil((fork_cycles + latency) / slowest)
