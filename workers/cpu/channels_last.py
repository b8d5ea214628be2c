"""The fast execution of a network in plain torch: channels last, activations as integers.

A quantized activation is kept as integers and a scale. It is never multiplied by the scale: the scale of a layer's
input multiplies the layer's weights, and the scale of its output divides weight and bias of the batch norm in front.
The gradients of these small tensors then contain the scale's gradient, without a pass over the activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.cpu.tiled_layers import MultiplyRoundPool, NormalizeRoundPool, RoundingPool
from workers.functional_quantizers import ActivationQuantizer, RoundToIntegers
from workers.fused_layers import (
    ClipLayer,
    ConvChain,
    ConvLayer,
    FusedLayer,
    InputLayer,
    LinearLayer,
    PoolLayer,
    join_pools,
)

MAX_SHORT_ROW = 16
"""Inputs per output of a convolution, up to which computing it twice costs less than keeping its output."""


@dataclass(frozen=True)
class Activation:
    """Integers and the size of one step; or floats, the scale being None."""

    values: Tensor
    """(batch, channels, 1, length) in torch.channels_last, or (batch, features)."""
    scale: Tensor | None

    @property
    def floats(self) -> Tensor:
        return self.values if self.scale is None else self.values * self.scale


def run_channels_last(layers: tuple[FusedLayer, ...], frames: Tensor) -> Tensor:
    """Class scores (batch, n_classes) of frames (batch, in_channels, frame_length)."""
    x = Activation(frames.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last), None)
    quantizer: ActivationQuantizer | None = None
    for layer, pool_size in join_pools(layers):
        match layer:
            case InputLayer():
                x, quantizer = _quantize_frames(layer.quantizer, x.values), layer.quantizer
            case ClipLayer():
                x = Activation(layer(x.values), None)
            case ConvChain():
                x, quantizer = _run_chain(layer, x, quantizer, pool_size), layer.convolutions[-1].quantizer
            case PoolLayer():
                x = _pool(x, layer.size)
            case LinearLayer():
                x = _run_linear(layer, x)
    return x.floats


def _quantize_frames(quantizer: ActivationQuantizer, frames: Tensor) -> Activation:
    assert quantizer.integers is not None
    integers, scale = quantizer.integers, quantizer.scale.detach()
    return Activation((frames / scale).round_().clamp_(integers.lowest, integers.highest), scale)


def _run_chain(
    chain: ConvChain, x: Activation, input_quantizer: ActivationQuantizer | None, pool_size: int
) -> Activation:
    y = x
    for layer in chain.convolutions[:-1]:
        y = _run_conv(layer, y, layer.quantizer, 1)
    last = chain.convolutions[-1]
    if not chain.is_residual:
        return _run_conv(last, y, last.quantizer, pool_size)
    assert input_quantizer is not None
    y = _run_conv(last, y, input_quantizer, 1)
    total = Activation(x.values + y.values, x.scale)  # both in steps of one quantizer
    return _pool(_requantize(total, last.quantizer), pool_size)


def _run_conv(layer: ConvLayer, x: Activation, quantizer: ActivationQuantizer, pool_size: int) -> Activation:
    """The layer as far as `quantizer`, which need not be its own, and the pool."""
    conv = layer.conv
    weight = _scale_weight(layer.weight(), x.scale)  # (out_channels, in_channels / groups, kernel_size)
    is_tiled = quantizer.integers is not None and layer.norm.training and len(x.values) > 1
    if is_tiled and conv.groups == 1 and not x.values.requires_grad and weight[0].numel() <= MAX_SHORT_ROW:
        return _pool_in_tiles(partial(_multiply_short_rows, layer, x.values, weight, quantizer), pool_size)
    y = F.conv2d(
        x.values, weight.unsqueeze(2), None, (1, *conv.stride), (0, conv.kernel_size[0] // 2), groups=conv.groups
    )
    if is_tiled:
        return _pool_in_tiles(partial(_normalize_in_tiles, layer.norm, y, quantizer), pool_size)
    return _pool(_normalize_and_quantize(layer.norm, quantizer, y), pool_size)


def _pool_in_tiles(compute: Callable[[int], Activation], pool_size: int) -> Activation:
    """`compute` pools by 1 or 2 in its tiles; what is left of `pool_size` is a pool of its own."""
    in_tiles = 2 if pool_size % 2 == 0 else 1
    return _pool(compute(in_tiles), pool_size // in_tiles)


def _normalize_in_tiles(norm: nn.BatchNorm1d, y: Tensor, quantizer: ActivationQuantizer, pool_size: int) -> Activation:
    assert quantizer.integers is not None
    assert norm.momentum is not None
    scale = quantizer.scale
    mean, variance = torch.batch_norm_update_stats(y.detach(), norm.running_mean, norm.running_var, norm.momentum)
    _count_batch(norm)
    pooled = NormalizeRoundPool.apply(
        _as_rows(y),
        norm.weight / scale,
        norm.bias / scale,
        mean,
        torch.sqrt(variance + norm.eps),
        RoundingPool(quantizer.integers, pool_size),
    )  # type: ignore[no-untyped-call]
    return Activation(_as_images(pooled, len(y)), scale)


def _multiply_short_rows(
    layer: ConvLayer, x: Tensor, weight: Tensor, quantizer: ActivationQuantizer, pool_size: int
) -> Activation:
    """Convolution, batch norm and quantizer as one product of matrices.

    Mean and variance of the convolution's output follow from those of its input. They are known before it is computed,
    so the batch norm becomes part of the weights. Gradients need sums over the rows of the input alone, too.
    """
    assert quantizer.integers is not None
    norm, conv = layer.norm, layer.conv
    scale = quantizer.scale
    rows = _gather_rows(x, conv)  # (batch * out_length, in_channels * kernel_size + 1)
    weight = weight.flatten(1)
    input_mean, covariance = _measure_moments(rows)
    mean, variance = weight @ input_mean, (weight @ covariance * weight).sum(1)
    _update_statistics(norm, mean.detach(), variance.detach(), len(rows))
    slope = norm.weight / scale * torch.rsqrt(variance + norm.eps)
    offset = norm.bias / scale - slope * mean
    folded = torch.cat([slope[:, None] * weight, offset[:, None]], dim=1)
    pooled = MultiplyRoundPool.apply(rows, folded, RoundingPool(quantizer.integers, pool_size))  # type: ignore[no-untyped-call]
    return Activation(_as_images(pooled, len(x)), scale)


def _gather_rows(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """The inputs of each output of the convolution, and a one behind them."""
    kernel_size, channels = conv.kernel_size[0], conv.in_channels
    padded = F.pad(x.squeeze(2).transpose(1, 2), (0, 0, kernel_size // 2, kernel_size // 2))
    windows = padded.unfold(1, kernel_size, conv.stride[0])  # (batch, out_length, channels, kernel_size)
    rows = x.new_ones(len(x) * windows.shape[1], channels * kernel_size + 1)
    rows[:, :-1].view(windows.shape).copy_(windows)
    return rows


def _measure_moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all columns but the last, which is one; in float64, where sums of integers are exact."""
    exact = rows.double()
    moments = exact.T @ exact / len(rows)
    mean = moments[:-1, -1]
    return mean.to(rows.dtype), (moments[:-1, :-1] - torch.outer(mean, mean)).to(rows.dtype)


def _update_statistics(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, n_rows: int) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (n_rows / (n_rows - 1)), norm.momentum)
    _count_batch(norm)


def _count_batch(norm: nn.BatchNorm1d) -> None:
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)


def _as_rows(x: Tensor) -> Tensor:
    """(batch, channels, 1, length) as (batch * length, channels), without a copy where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _as_images(rows: Tensor, batch: int) -> Tensor:
    return rows.view(batch, 1, -1, rows.shape[1]).permute(0, 3, 1, 2)


def _run_linear(layer: LinearLayer, x: Activation) -> Activation:
    y = F.linear(torch.flatten(x.values, 1), _scale_weight(layer.weight(), x.scale))
    if layer.norm is None or layer.quantizer is None:
        return Activation(y, None)
    return _normalize_and_quantize(layer.norm, layer.quantizer, y)


def _scale_weight(weight: Tensor, input_scale: Tensor | None) -> Tensor:
    return weight if input_scale is None else weight * input_scale


def _normalize_and_quantize(norm: nn.BatchNorm1d, quantizer: ActivationQuantizer, y: Tensor) -> Activation:
    if quantizer.integers is None:
        return Activation(F.relu(_normalize(norm, y, norm.weight, norm.bias)), None)
    scale = quantizer.scale
    steps = _normalize(norm, y, norm.weight / scale, norm.bias / scale)
    return Activation(_round(steps, quantizer), scale)


def _requantize(x: Activation, quantizer: ActivationQuantizer) -> Activation:
    if quantizer.integers is None:
        return Activation(F.relu(x.floats), None)
    scale = quantizer.scale
    ratio = 1 / scale if x.scale is None else x.scale / scale
    return Activation(_round(x.values * ratio, quantizer), scale)


def _round(steps: Tensor, quantizer: ActivationQuantizer) -> Tensor:
    integers: Tensor = RoundToIntegers.apply(steps, quantizer.integers)  # type: ignore[no-untyped-call]
    return integers


def _normalize(norm: nn.BatchNorm1d, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As the module does, but with a weight and bias given; running statistics are the module's."""
    assert norm.momentum is not None
    if norm.training:
        _count_batch(norm)
    return F.batch_norm(x, norm.running_mean, norm.running_var, weight, bias, norm.training, norm.momentum, norm.eps)


def _pool(x: Activation, size: int) -> Activation:
    return x if size == 1 else Activation(F.max_pool2d(x.values, (1, size)), x.scale)
