"""Batch norm, rounding and max pooling in one pass, tile by tile, so that temporaries stay in the processor's cache.

Activations are rows here, one per sample of time: (batch * length, channels), which is channels-last memory.
The backward pass computes them again from the convolution's output; nothing else is kept for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workers.functional_quantizers import IntegerRange, pass_inside_range

TILE_ELEMENTS = 2**17
"""Values in one tile: half a mebibyte as float32. The few tensors of a tile then fit into a core's cache."""


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

        Of equal integers the first gets the gradient. `scratch` has the shape of `steps`; `out` is returned.
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
    """Batch norm of rows y with given statistics, rounding and pooling. Gradients go to y, weight and bias.

    The gradient to y is that of batch norm in training: the statistics depend on y.
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
        tiling = _Tiling(*y.shape)
        memory, pooled_tiles = tiling.reuse_memory(y), tiling.split(pooled, pool.size)
        for tile, y_tile, pooled_tile in zip(memory, tiling.split(y), pooled_tiles, strict=True):
            pool.forward(torch.addcmul(offset, y_tile, slope, out=tile.steps), pooled_tile)
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, bias, mean, deviation = ctx.saved_tensors
        slope = weight / deviation
        offset = bias - slope * mean
        y_gradient = torch.empty_like(y)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
        inverse_deviation = 1 / deviation
        tiling = _Tiling(*y.shape)
        memory, y_tiles, out_tiles = tiling.reuse_memory(y), tiling.split(y), tiling.split(y_gradient)
        gradient_tiles = tiling.split(gradient, ctx.pool.size)
        for tile, y_tile, gradient_tile, out in zip(memory, y_tiles, gradient_tiles, out_tiles, strict=True):
            steps = torch.addcmul(offset, y_tile, slope, out=tile.steps)
            ctx.pool.backward(steps, gradient_tile, tile.scratch, out)
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                out, y_tile, weight, None, None, mean, inverse_deviation, True, 0.0, [False, True, True]
            )
            weight_gradient += of_weight
            bias_gradient += of_bias
        # batch norm: slope * (g - mean(g) - x * mean(g * x)), where x = (y - mean) / deviation
        y_slope = -slope * weight_gradient / (len(y) * deviation)
        y_offset = -slope * bias_gradient / len(y) - y_slope * mean
        for tile, y_tile, out in zip(memory, y_tiles, out_tiles, strict=True):
            through_statistics = torch.addcmul(y_offset, y_tile, y_slope, out=tile.steps)
            torch.addcmul(through_statistics, out, slope, out=out)
        return y_gradient, weight_gradient, bias_gradient, None, None, None


class MultiplyRoundPool(torch.autograd.Function):
    """rows @ weight.T, rounding and pooling, for short rows: multiplying again costs less than keeping the product."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, pool: RoundingPool) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.pool = pool
        pooled = rows.new_empty(len(rows) // pool.size, len(weight))
        tiling = _Tiling(len(rows), len(weight))
        memory, pooled_tiles = tiling.reuse_memory(rows), tiling.split(pooled, pool.size)
        for tile, tile_rows, pooled_tile in zip(memory, tiling.split(rows), pooled_tiles, strict=True):
            pool.forward(torch.mm(tile_rows, weight.T, out=tile.steps), pooled_tile)
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        rows, weight = ctx.saved_tensors
        weight_gradient = torch.zeros_like(weight)
        tiling = _Tiling(len(rows), len(weight))
        memory, gradient_tiles = tiling.reuse_memory(rows), tiling.split(gradient, ctx.pool.size)
        for tile, tile_rows, gradient_tile in zip(memory, tiling.split(rows), gradient_tiles, strict=True):
            steps = torch.mm(tile_rows, weight.T, out=tile.steps)
            of_steps = ctx.pool.backward(steps, gradient_tile, tile.scratch, tile.gradient)
            weight_gradient.addmm_(of_steps.T, tile_rows)
        return None, weight_gradient, None


class _Tile(NamedTuple):
    """Memory for the temporaries of one tile."""

    steps: Tensor
    scratch: Tensor
    gradient: Tensor


class _Tiling:
    """How rows are cut into tiles. A tile has an even number of rows, because pairs of rows are pooled."""

    def __init__(self, n_rows: int, n_channels: int) -> None:
        self._n_rows, self._n_channels = n_rows, n_channels
        self._length = max(2, TILE_ELEMENTS // n_channels // 2 * 2)

    def split(self, rows: Tensor, pool_size: int = 1) -> tuple[Tensor, ...]:
        """The rows of each tile, of a tensor that is pooled by `pool_size`."""
        return torch.split(rows, self._length // pool_size)

    def reuse_memory(self, like: Tensor) -> list[_Tile]:
        """The same memory for each tile; the last one may be shorter."""
        starts = range(0, self._n_rows, self._length)
        memory = like.new_empty(len(_Tile._fields), min(self._length, self._n_rows), self._n_channels)
        return [_Tile(*memory[:, : self._n_rows - start]) for start in starts]
