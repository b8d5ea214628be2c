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

TILE_ELEMENTS = 2**16
"""Values in one tile: a quarter mebibyte as float32, so that the few tensors of a tile fit into a core's cache."""


@dataclass(frozen=True)
class RoundingPool:
    """Rounding to the integers of a ReLU's quantizer, then the maximum of each `size` neighbours, 1 or 2."""

    integers: IntegerRange
    size: int

    def forward(self, steps: Tensor, out: Tensor) -> None:
        """Writes the integers of (rows, channels) to `out` (rows / size, channels)."""
        if self.size == 2:  # the maximum first: rounding keeps order
            steps = torch.maximum(*split_pairs(steps), out=out)
        self._round(steps, out)

    def backward(self, steps: Tensor, gradient: Tensor, scratch: Tensor, out: Tensor) -> Tensor:
        """Writes the gradient of `steps` (rows, channels) to `out` from that of the integers (rows / size, channels).

        Of equal integers the first has the gradient. `scratch` is like `steps`; `out` is returned.
        """
        if self.size == 2:
            first, second = split_pairs(self._round(steps, scratch))
            torch.mul(gradient, second.gt_(first), out=second)  # gt_ gives 1 or 0
            torch.sub(gradient, second, out=first)
            gradient = scratch
        return pass_inside_range(gradient, steps, self.integers, out)

    def _round(self, steps: Tensor, out: Tensor) -> Tensor:
        return torch.clamp(steps, self.integers.lowest, self.integers.highest, out=out).round_()


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
        slope = weight / deviation
        offset = bias - slope * mean
        pooled = y.new_empty(len(y) // pool.size, y.shape[1])
        for tile in _tiles(pooled, pool.size):
            steps = torch.addcmul(offset, y[tile.rows], slope, out=tile.steps)
            pool.forward(steps, pooled[tile.pooled_rows])
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, bias, mean, deviation = ctx.saved_tensors
        slope = weight / deviation
        offset = bias - slope * mean
        y_gradient = torch.empty_like(y)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
        for tile in _tiles(gradient, ctx.pool.size):
            y_tile = y[tile.rows]
            steps = torch.addcmul(offset, y_tile, slope, out=tile.steps)
            of_steps = ctx.pool.backward(steps, gradient[tile.pooled_rows], tile.scratch, y_gradient[tile.rows])
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                of_steps, y_tile, weight, None, None, mean, 1 / deviation, True, 0.0, [False, True, True]
            )
            weight_gradient += of_weight
            bias_gradient += of_bias
        # batch norm: slope * (g - mean(g) - x * mean(g * x)), where x = (y - mean) / deviation
        y_slope = -slope * weight_gradient / (len(y) * deviation)
        y_offset = -slope * bias_gradient / len(y) - y_slope * mean
        for tile in _tiles(y, 1):
            of_steps = y_gradient[tile.rows]
            through_statistics = torch.addcmul(y_offset, y[tile.rows], y_slope, out=tile.steps)
            torch.addcmul(through_statistics, of_steps, slope, out=of_steps)
        return y_gradient, weight_gradient, bias_gradient, None, None, None


class MultiplyRoundPool(torch.autograd.Function):
    """rows @ weight.T, rounding and pooling, for rows so short that to multiply again costs less than to keep."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, pool: RoundingPool) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.pool = pool
        pooled = rows.new_empty(len(rows) // pool.size, len(weight))
        for tile in _tiles(pooled, pool.size):
            steps = torch.mm(rows[tile.rows], weight.T, out=tile.steps)
            pool.forward(steps, pooled[tile.pooled_rows])
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        rows, weight = ctx.saved_tensors
        weight_gradient = torch.zeros_like(weight)
        for tile in _tiles(gradient, ctx.pool.size):
            steps = torch.mm(rows[tile.rows], weight.T, out=tile.steps)
            of_steps = ctx.pool.backward(steps, gradient[tile.pooled_rows], tile.scratch, tile.gradient)
            weight_gradient.addmm_(of_steps.T, rows[tile.rows])
        return None, weight_gradient, None


@dataclass(frozen=True)
class _Tile:
    """Some rows, and memory for what is computed of them, which the next tile has again."""

    rows: slice
    pooled_rows: slice
    steps: Tensor
    scratch: Tensor
    gradient: Tensor


def _tiles(pooled: Tensor, pool_size: int) -> Iterator[_Tile]:
    """All rows that (rows / pool_size, channels) are pooled from."""
    n_pooled_rows, n_channels = pooled.shape
    tile_length = min(n_pooled_rows, max(1, TILE_ELEMENTS // (n_channels * pool_size)))
    memory = pooled.new_empty(3, tile_length * pool_size, n_channels)
    for start in range(0, n_pooled_rows, tile_length):
        stop = min(start + tile_length, n_pooled_rows)
        steps, scratch, gradient = memory[:, : (stop - start) * pool_size]
        yield _Tile(slice(start * pool_size, stop * pool_size), slice(start, stop), steps, scratch, gradient)
