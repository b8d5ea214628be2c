"""The fast execution of a network's stages in plain torch: channels last, activations as integers.

A quantized activation is carried as its integers beside its scale, and is not multiplied or divided by it: the scale of
a layer's input multiplies its weights, and the scale of its output divides weight and bias of the batch norm in front.
Their gradients then hold the scale's, which needs no pass over the activations of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.functional_quantizers import ActivationQuantizer, RoundToIntegers
from workers.network_stages import ConvChain, ConvStage, InputStage, LinearStage, PoolStage, Stage


@dataclass(frozen=True)
class Activation:
    """Integers and the size of one step; or floats, the scale being None."""

    values: Tensor
    """(batch, channels, 1, length) in torch.channels_last, or (batch, features)."""
    scale: Tensor | None

    @property
    def floats(self) -> Tensor:
        return self.values if self.scale is None else self.values * self.scale


def run_channels_last(stages: tuple[Stage, ...], frames: Tensor) -> Tensor:
    """Class scores (batch, n_classes) of frames (batch, in_channels, frame_length)."""
    x = Activation(frames.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last), None)
    quantizer: ActivationQuantizer | None = None
    for stage in stages:
        match stage:
            case InputStage():
                x, quantizer = _quantize_frames(stage.quantizer, x.values), stage.quantizer
            case ConvChain():
                x, quantizer = _run_chain(stage, x, quantizer), stage.stages[-1].quantizer
            case PoolStage():
                x = Activation(_pool(x.values, stage.size), x.scale)
            case LinearStage():
                x = _run_linear(stage, x)
    return x.floats


def _quantize_frames(quantizer: ActivationQuantizer, frames: Tensor) -> Activation:
    assert quantizer.integers is not None
    integers, scale = quantizer.integers, quantizer.scale.detach()
    return Activation((frames / scale).round_().clamp_(integers.lowest, integers.highest), scale)


def _run_chain(chain: ConvChain, x: Activation, input_quantizer: ActivationQuantizer | None) -> Activation:
    y = x
    for stage in chain.stages[:-1]:
        y = _run_conv(stage, y, stage.quantizer)
    last = chain.stages[-1]
    if not chain.is_residual:
        return _run_conv(last, y, last.quantizer)
    assert input_quantizer is not None
    y = _run_conv(last, y, input_quantizer)
    return _requantize(Activation(x.values + y.values, x.scale), last.quantizer)  # both in steps of one quantizer


def _run_conv(stage: ConvStage, x: Activation, quantizer: ActivationQuantizer) -> Activation:
    """The stage as far as `quantizer`, which need not be its own."""
    conv = stage.conv
    weight = _scale_weight(stage.weight(), x.scale).unsqueeze(2)  # (out_channels, in_channels / groups, 1, kernel_size)
    y = F.conv2d(x.values, weight, None, (1, *conv.stride), (0, conv.kernel_size[0] // 2), groups=conv.groups)
    return _normalize_and_quantize(stage.norm, quantizer, y)


def _run_linear(stage: LinearStage, x: Activation) -> Activation:
    y = F.linear(torch.flatten(x.values, 1), _scale_weight(stage.weight(), x.scale))
    if stage.norm is None or stage.quantizer is None:
        return Activation(y, None)
    return _normalize_and_quantize(stage.norm, stage.quantizer, y)


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
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    if norm.training:
        norm.num_batches_tracked.add_(1)
    return F.batch_norm(x, norm.running_mean, norm.running_var, weight, bias, norm.training, norm.momentum, norm.eps)


def _pool(x: Tensor, size: int) -> Tensor:
    if size == 2:
        pooled: Tensor = _MaxOfPairs.apply(x)  # type: ignore[no-untyped-call]
        return pooled
    return F.max_pool2d(x, (1, size))


class _MaxOfPairs(torch.autograd.Function):
    """Max pooling of size 2 without torch's 64-bit indices; of equal neighbours the first has the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, _, length = x.shape
        pairs = x.permute(0, 2, 3, 1).view(batch, 1, length // 2, 2, channels)
        first, second = pairs.unbind(3)
        ctx.save_for_backward(second > first)
        return torch.maximum(first, second).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (is_second,) = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 1)  # (batch, 1, length // 2, channels)
        batch, _, length, channels = gradient.shape
        pairs = gradient.new_empty(batch, 1, length, 2, channels)
        first, second = pairs.unbind(3)
        torch.mul(gradient, is_second, out=second)
        torch.sub(gradient, second, out=first)
        return pairs.view(batch, 1, 2 * length, channels).permute(0, 3, 1, 2)
