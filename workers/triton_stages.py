"""A stage on a GPU: convolution, batch norm, ReLU and fake quantization as Triton kernels with gradients.

The structure is that of `workers.cpu.native_layers`: one pass convolves and takes statistics, a second normalizes and
quantizes; backward likewise. Scales stay on the device, so a stage can be captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers import triton_convolutions, triton_normalization

TILE = 1024
"""Positions that one program of an elementwise or depthwise kernel handles."""

DENSE_TILE, TAP_TILE = 128, 32
"""Of products of matrices: positions, and (channel, tap) pairs at once."""

MAX_SPLITS = 64
"""Parts of which the sums of a weight's gradient are taken apart, to be added up afterwards."""


@dataclass(frozen=True)
class DeviceCodeRange:
    """ReLU, then the integers 0 to `highest` times `scale`; ReLU alone where `scale` is None."""

    scale: Tensor | None = None
    """One number on the device, positive; has a gradient."""
    highest: int = 0


@dataclass(frozen=True)
class DeviceResidual:
    """What is added to a stage's quantized values (batch, out_channels, out_length), and the quantizer of the sum."""

    summand: Tensor
    quantizer: DeviceCodeRange


def triton_stage(
    x: Tensor,
    weight: Tensor,
    norm: nn.BatchNorm1d,
    quantizer: DeviceCodeRange,
    residual: DeviceResidual | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    is_depthwise: bool = False,
) -> Tensor:
    """quantizer(norm(conv(x))) and, with a residual, residual.quantizer(residual.summand + that), in training.

    `x` is (batch, in_channels, length) float32, `weight` what inference sees, as for `fused_stage`. The batch norm
    takes the batch's statistics and moves its running ones. Raises ValueError where there is one value per channel.
    """
    assert norm.training
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    assert x.dtype == weight.dtype == norm.weight.dtype == torch.float32
    assert x.numel() < 2**31, "kernels count elements in 32 bits"
    geometry = _Geometry(
        x.shape[0], x.shape[1], x.shape[2], weight.shape[0], weight.shape[2], stride, padding, is_depthwise
    )
    if geometry.n_out == 1:
        raise ValueError("one frame of length 1 has no batch statistics; expected more than 1 value per channel")
    norm.num_batches_tracked.add_(1)
    out: Tensor = _TritonStage.apply(  # type: ignore[no-untyped-call]
        x,
        weight,
        norm.weight,
        norm.bias,
        quantizer.scale,
        residual.summand if residual else None,
        residual.quantizer.scale if residual else None,
        norm,
        geometry,
        (quantizer.highest, residual.quantizer.highest if residual else 0),
    )
    return out


@dataclass(frozen=True)
class _Geometry:
    batch: int
    in_channels: int
    in_length: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    is_depthwise: bool

    @property
    def out_length(self) -> int:
        return (self.in_length + 2 * self.padding - self.kernel_size) // self.stride + 1

    @property
    def n_out(self) -> int:
        """Positions of the output, through all frames."""
        return self.batch * self.out_length

    @property
    def tile(self) -> int:
        """Positions over which the convolution takes its statistics."""
        return TILE if self.is_depthwise else DENSE_TILE

    @property
    def constants(self) -> dict[str, int]:
        """What the convolution's kernels are compiled for."""
        channels = {"CHANNELS": self.in_channels}
        if not self.is_depthwise:
            channels = {"IN_CHANNELS": self.in_channels, "OUT_CHANNELS": self.out_channels}
        lengths = {"IN_LENGTH": self.in_length, "OUT_LENGTH": self.out_length}
        taps = {"KERNEL_SIZE": self.kernel_size, "STRIDE": self.stride, "PADDING": self.padding}
        return {**channels, **lengths, **taps}


class _TritonStage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        scale: Tensor | None,
        summand: Tensor | None,
        sum_scale: Tensor | None,
        norm: nn.BatchNorm1d,
        geometry: _Geometry,
        highest: tuple[int, int],
    ) -> Tensor:
        x, weight, summand = x.contiguous(), weight.contiguous(), None if summand is None else summand.contiguous()
        z, statistics = _convolve(geometry, x, weight, norm)
        out = torch.empty_like(z)
        triton_normalization.normalize_and_quantize[_elementwise_grid(geometry)](
            z, _or(summand, z), out, gamma, beta, *statistics, _or(scale, z), _or(sum_scale, z), *map(float, highest),
            geometry.n_out, **_activation_constants(geometry, scale, summand, sum_scale),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, gamma, beta, scale, summand, sum_scale, z, statistics)
        ctx.geometry, ctx.highest = geometry, highest
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, beta, scale, summand, sum_scale, z, statistics = ctx.saved_tensors
        geometry: _Geometry = ctx.geometry
        grid = _elementwise_grid(geometry)
        gradient = out_gradient.contiguous()
        summand_gradient = None if summand is None else torch.empty_like(summand)
        sums = z.new_zeros(4, geometry.out_channels, grid[0])
        constants = _activation_constants(geometry, scale, summand, sum_scale)
        triton_normalization.sum_gradients[grid](
            z, _or(summand, z), gradient, _or(summand_gradient, z), sums, gamma, beta, *statistics,
            _or(scale, z), _or(sum_scale, z), *map(float, ctx.highest), geometry.n_out, grid[0], **constants,
        )  # fmt: skip
        totals = sums.sum(2, dtype=torch.float64)  # (4, out_channels)
        z_gradient = torch.empty_like(z)
        triton_normalization.differentiate_norm[grid](
            z, _or(summand_gradient, gradient), z_gradient, totals, gamma, beta, *statistics, _or(scale, z),
            float(ctx.highest[0]), geometry.n_out,
            **{name: constants[name] for name in ("CHANNELS", "LENGTH", "IS_QUANTIZED", "TILE")},
        )  # fmt: skip
        return (
            _differentiate_input(geometry, z_gradient, weight) if ctx.needs_input_grad[0] else None,
            _differentiate_weight(geometry, z_gradient, x).view_as(weight),
            totals[1].float(),
            totals[0].float(),
            None if scale is None else totals[2].sum().float().view_as(scale),
            summand_gradient,
            None if sum_scale is None else totals[3].sum().float().view_as(sum_scale),
            *[None] * 3,
        )


def _convolve(geometry: _Geometry, x: Tensor, weight: Tensor, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """The convolution (batch, out_channels, out_length), and mean and inverse deviation of its channels, float64."""
    z = x.new_empty(geometry.batch, geometry.out_channels, geometry.out_length)
    n_tiles = triton.cdiv(geometry.n_out, geometry.tile)
    of_tiles = x.new_empty(2, geometry.out_channels, n_tiles)
    arguments = (x, weight, z, *of_tiles, geometry.n_out, n_tiles)
    if geometry.is_depthwise:
        triton_convolutions.convolve_depthwise[n_tiles, geometry.out_channels](
            *arguments, **geometry.constants, TILE=TILE
        )
    else:
        tiles = _dense_tiles(geometry.out_channels)
        grid = n_tiles, triton.cdiv(geometry.out_channels, tiles["CHANNEL_TILE"])
        triton_convolutions.convolve_dense[grid](*arguments, **geometry.constants, **tiles)
    statistics = torch.empty(2, geometry.out_channels, dtype=torch.float64, device=x.device)
    triton_normalization.finish_statistics[geometry.out_channels,](
        *of_tiles, *statistics, norm.running_mean, norm.running_var, geometry.n_out, n_tiles, norm.momentum, norm.eps,
        TILE=geometry.tile, BLOCK=256,
    )  # fmt: skip
    return z, statistics


def _differentiate_input(geometry: _Geometry, z_gradient: Tensor, weight: Tensor) -> Tensor:
    x_gradient = z_gradient.new_empty(geometry.batch, geometry.in_channels, geometry.in_length)
    n_in = geometry.batch * geometry.in_length
    arguments = (z_gradient, weight, x_gradient, n_in)
    if geometry.is_depthwise:
        grid = triton.cdiv(n_in, TILE), geometry.in_channels
        triton_convolutions.differentiate_depthwise_input[grid](*arguments, **geometry.constants, TILE=TILE)
    else:
        tiles = _dense_tiles(geometry.in_channels)
        grid = triton.cdiv(n_in, DENSE_TILE), triton.cdiv(geometry.in_channels, tiles["CHANNEL_TILE"])
        triton_convolutions.differentiate_dense_input[grid](*arguments, **geometry.constants, **tiles)
    return x_gradient


def _differentiate_weight(geometry: _Geometry, z_gradient: Tensor, x: Tensor) -> Tensor:
    n_tiles = triton.cdiv(geometry.n_out, DENSE_TILE)
    tiles_per_split = triton.cdiv(n_tiles, MAX_SPLITS)
    n_splits = triton.cdiv(n_tiles, tiles_per_split)
    taps = geometry.kernel_size if geometry.is_depthwise else geometry.in_channels * geometry.kernel_size
    partial = x.new_empty(n_splits, geometry.out_channels, taps)
    arguments = (z_gradient, x, partial, geometry.n_out, tiles_per_split)
    if geometry.is_depthwise:
        tiles = {"TILE": DENSE_TILE, "TAP_TILE": triton.next_power_of_2(geometry.kernel_size)}
        triton_convolutions.differentiate_depthwise_weight[n_splits, geometry.out_channels](
            *arguments, **geometry.constants, **tiles
        )
    else:
        tiles = _dense_tiles(geometry.out_channels)
        grid = n_splits, triton.cdiv(geometry.out_channels, tiles["CHANNEL_TILE"]), triton.cdiv(taps, TAP_TILE)
        triton_convolutions.differentiate_dense_weight[grid](*arguments, **geometry.constants, **tiles)
    return partial.sum(0, dtype=torch.float64).float()


def _elementwise_grid(geometry: _Geometry) -> tuple[int, int]:
    return triton.cdiv(geometry.n_out, TILE), geometry.out_channels


def _activation_constants(
    geometry: _Geometry, scale: Tensor | None, summand: Tensor | None, sum_scale: Tensor | None
) -> dict[str, int]:
    has = {"IS_QUANTIZED": scale, "HAS_SUMMAND": summand, "IS_SUM_QUANTIZED": sum_scale}
    shape = {"CHANNELS": geometry.out_channels, "LENGTH": geometry.out_length, "TILE": TILE}
    return {**shape, **{name: tensor is not None for name, tensor in has.items()}}


def _dense_tiles(channels: int) -> dict[str, int]:
    channel_tile = min(max(triton.next_power_of_2(channels), 16), 64)  # a product of matrices has sides of 16 at least
    return {"TILE": DENSE_TILE, "CHANNEL_TILE": channel_tile, "TAP_TILE": TAP_TILE}


def _or(tensor: Tensor | None, unread: Tensor) -> Tensor:
    """A kernel's pointer that it is compiled not to read must still point somewhere."""
    return unread if tensor is None else tensor
