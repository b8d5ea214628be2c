"""Batch norm, rounding and max pooling in one pass, tile by tile: a tile's temporaries stay in the processor's cache.

Activations are rows here, one per sample of time, (batch * length, channels): channels-last memory, seen flat.
Gradients are worked out anew from what the convolution gave, so that nothing else is kept for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.functional_quantizers import IntegerRange, pass_inside_range

TILE_ELEMENTS = 2**17
"""Values in one tile: half a mebibyte as float32, so that the four tensors of a tile fit into a core's cache."""


@dataclass(frozen=True)
class RoundingPool:
    """Rounding to the integers of a ReLU's quantizer, then the maximum of each `size` neighbours, 1 or 2."""

    integers: IntegerRange
    size: int

    def forward(self, steps: Tensor, out: Tensor) -> None:
        """Writes the integers of (rows, channels) to `out` (rows / size, channels)."""
        if self.size == 2:  # the maximum first: rounding keeps order
            first, second = split_pairs(steps)
            steps = torch.maximum(first, second, out=out)
        torch.clamp(steps, self.integers.lowest, self.integers.highest, out=out).round_()

    def backward(self, steps: Tensor, gradient: Tensor) -> Tensor:
        """Gradient of (rows, channels) from that of (rows / size, channels); of equal integers the first has it."""
        if self.size == 2:
            gradient = self._spread(steps, gradient)
        return pass_inside_range(gradient, steps, self.integers)

    def _spread(self, steps: Tensor, gradient: Tensor) -> Tensor:
        spread = torch.clamp(steps, self.integers.lowest, self.integers.highest).round_()
        first, second = split_pairs(spread)
        torch.mul(gradient, second.gt_(first), out=second)  # gt_ gives 1 or 0
        torch.sub(gradient, second, out=first)
        return spread


def split_pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The even and the odd rows, as views."""
    pairs = rows.view(-1, 2, rows.shape[1])
    return pairs[:, 0], pairs[:, 1]


class NormalizeRoundPool(torch.autograd.Function):
    """Rows y, batch norm of given statistics with weight and bias, rounding and pooling; gradients to y, weight, bias.

    The gradient to y is that of batch norm in training, whose statistics are those of y.
    """

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor, pool: RoundingPool
    ) -> Tensor:
        ctx.save_for_backward(y, weight, bias, mean, deviation)
        ctx.pool = pool
        slope, offset = _affine(weight, bias, mean, deviation)
        pooled = y.new_empty(len(y) // pool.size, y.shape[1])
        for rows, pooled_rows in _tiles(len(y) // pool.size, y.shape[1], pool.size):
            pool.forward(torch.addcmul(offset, y[rows], slope), pooled[pooled_rows])
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, bias, mean, deviation = ctx.saved_tensors
        pool: RoundingPool = ctx.pool
        slope, offset = _affine(weight, bias, mean, deviation)
        y_gradient = torch.empty_like(y)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
        for rows, pooled_rows in _tiles(len(y) // pool.size, y.shape[1], pool.size):
            steps = torch.addcmul(offset, y[rows], slope)
            steps_gradient = pool.backward(steps, gradient[pooled_rows])
            y_gradient[rows] = steps_gradient
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                steps_gradient, y[rows], weight, None, None, mean, 1 / deviation, True, 0.0, [False, True, True]
            )
            weight_gradient += of_weight
            bias_gradient += of_bias
        # batch norm: slope * (g - mean(g) - x * mean(g * x)), where x = (y - mean) / deviation
        y_slope = -slope * weight_gradient / (len(y) * deviation)
        y_offset = -slope * bias_gradient / len(y) - y_slope * mean
        for rows, _ in _tiles(len(y), y.shape[1], 1):
            torch.addcmul(torch.addcmul(y_offset, y[rows], y_slope), y_gradient[rows], slope, out=y_gradient[rows])
        return y_gradient, weight_gradient, bias_gradient, None, None, None


class MultiplyRoundPool(torch.autograd.Function):
    """rows @ weight.T, rounding and pooling, for rows so short that to multiply again costs less than to keep."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, pool: RoundingPool) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.pool = pool
        pooled = rows.new_empty(len(rows) // pool.size, len(weight))
        for part, pooled_part in _tiles(len(pooled), len(weight), pool.size):
            pool.forward(rows[part] @ weight.T, pooled[pooled_part])
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        rows, weight = ctx.saved_tensors
        weight_gradient = torch.zeros_like(weight)
        for part, pooled_part in _tiles(len(gradient), len(weight), ctx.pool.size):
            steps_gradient = ctx.pool.backward(rows[part] @ weight.T, gradient[pooled_part])
            weight_gradient.addmm_(steps_gradient.T, rows[part])
        return None, weight_gradient, None


def _affine(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    slope = weight / deviation
    return slope, bias - slope * mean


def _tiles(n_pooled_rows: int, n_channels: int, pool_size: int) -> Iterator[tuple[slice, slice]]:
    """The rows of each tile in front of the pool and behind it."""
    step = max(1, TILE_ELEMENTS // (n_channels * pool_size))
    for start in range(0, n_pooled_rows, step):
        stop = min(start + step, n_pooled_rows)
        yield slice(start * pool_size, stop * pool_size), slice(start, stop)
