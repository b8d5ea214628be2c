"""The quantized blocks, from Brevitas parts: each computes what its description in `spaces.blocks` says.

FINN can build those with ReLU and max pools: there is a batch norm in front of every unsigned activation quantizer,
zero points are 0, residual branches share one quantizer, a global pool is a chain of small pools, and class scores have
no bias. Hard-swish, gates, averages and linear projections it cannot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import brevitas.nn as qnn
import torch
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit
from torch import Tensor, nn
from torch.nn import functional

from spaces.architecture import BlockShape, split_global_pool
from spaces.blocks import (
    FLOAT_BIT_WIDTH,
    Block,
    Conv,
    DepthwiseSeparable,
    GlobalPool,
    HardTanh,
    InputQuantizer,
    InvertedResidual,
    LayerBits,
    Linear,
    MaxPool,
    Parallel,
    list_layer_bits,
)

INITIAL_ACTIVATION_RANGE = 4.265
"""The 99.999 % quantile of N(0, 1), which Brevitas's percentile statistics find behind a batch norm at the start.

A constant instead of those statistics: their phase of 300 steps is longer than a short training. Their scale has a
gradient of zero rather than none, and with that Adam and weight decay drive it to zero.
"""


class FixedScale(Int8ActPerTensorFloatMinMaxInit):  # type: ignore[misc]
    """Signed activations with a scale that is not trained."""

    scaling_impl_type = ScalingImplType.CONST


class TrainedSignedScale(Int8ActPerTensorFloatMinMaxInit):  # type: ignore[misc]
    """Signed activations with a trained scale."""

    scaling_impl_type = ScalingImplType.PARAMETER


class QuantizedBlock(nn.Module, ABC):
    """A block of the network. `output_quantizer` makes its output; pools have none: they keep their input's."""

    def __init__(self) -> None:
        super().__init__()
        self.output_quantizer: nn.Module | None = None

    @abstractmethod
    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        """(batch, channels, length) in and out; `input_quantizer` is the module that made `x`."""


class InputQuantizerBlock(QuantizedBlock):
    def __init__(self, block: InputQuantizer) -> None:
        super().__init__()
        quantizer = qnn.QuantIdentity(
            act_quant=FixedScale, bit_width=block.bit_width, min_val=-block.clip, max_val=block.clip
        )
        if block.lowest is None:
            self.output_quantizer = quantizer
        else:
            self.output_quantizer = nn.Sequential(nn.Hardtanh(block.lowest, block.clip), quantizer)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        return _call(self.output_quantizer, x)


class HardTanhBlock(QuantizedBlock):
    def __init__(self, block: HardTanh) -> None:
        super().__init__()
        self.output_quantizer = nn.Hardtanh(block.lowest, block.highest)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        return _call(self.output_quantizer, x)


class ConvBlock(QuantizedBlock):
    def __init__(self, block: Conv, shape: BlockShape) -> None:
        super().__init__()
        bits = list_layer_bits(block)["conv"]
        self.conv = make_conv(shape.in_channels, shape.out_channels, bits, block.kernel_size, block.stride)
        self.conv_norm = nn.BatchNorm1d(shape.out_channels)
        self.output_quantizer = make_activation(bits, block.activation)
        self.is_even = block.kernel_size % 2 == 0

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        if self.is_even:  # the convolution itself pads one less than half of its taps on both sides
            x = functional.pad(x, (0, 1))
        return _call(self.output_quantizer, self.conv_norm(self.conv(x)))


class GatedBlock(QuantizedBlock):
    """A block whose depthwise layer may be followed by a gate."""

    def add_gate(self, block: DepthwiseSeparable | InvertedResidual, channels: int) -> None:
        """Its modules, where the block has a gate."""
        self.has_gate = block.squeeze_channels is not None
        if block.squeeze_channels is None:
            return
        bits = list_layer_bits(block)
        is_signed = block.activation == "hard_swish"
        self.mean_quantizer = make_quantizer(bits["depthwise"].activation, is_signed)
        self.squeeze = make_conv(channels, block.squeeze_channels, bits["squeeze"])
        self.squeeze_norm = nn.BatchNorm1d(block.squeeze_channels)
        self.squeeze_quantizer = make_activation(bits["squeeze"], "relu")
        self.excite = make_conv(block.squeeze_channels, channels, bits["excite"])
        self.excite_norm = nn.BatchNorm1d(channels)
        self.product_quantizer = make_quantizer(bits["excite"].activation, is_signed)

    def gate(self, x: Tensor) -> Tensor:
        """(batch, channels, length) scaled by channel; as it is where the block has no gate."""
        if not self.has_gate:
            return x
        y = self.mean_quantizer(x.mean(dim=2, keepdim=True))  # (batch, channels, 1)
        y = self.squeeze_quantizer(self.squeeze_norm(self.squeeze(y)))  # (batch, squeeze_channels, 1)
        y = functional.hardsigmoid(self.excite_norm(self.excite(y)))  # (batch, channels, 1)
        product: Tensor = self.product_quantizer(x * y)
        return product


class DepthwiseSeparableBlock(GatedBlock):
    def __init__(self, block: DepthwiseSeparable, shape: BlockShape) -> None:
        super().__init__()
        channels = shape.in_channels
        self.is_residual = shape.is_residual
        bits = list_layer_bits(block)
        self.depthwise = make_depthwise(channels, block, bits["depthwise"])
        self.depthwise_norm = nn.BatchNorm1d(channels)
        self.depthwise_quantizer = make_activation(bits["depthwise"], block.activation)
        self.add_gate(block, channels)
        self.pointwise = make_conv(channels, shape.out_channels, bits["pointwise"])
        self.pointwise_norm = nn.BatchNorm1d(shape.out_channels)
        self.output_quantizer = make_activation(bits["pointwise"], block.activation)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y = self.depthwise_quantizer(self.depthwise_norm(self.depthwise(x)))  # (batch, in_channels, out_length)
        y = self.pointwise_norm(self.pointwise(self.gate(y)))  # (batch, out_channels, out_length)
        if self.is_residual:
            y = x + _call(input_quantizer, y)
        return _call(self.output_quantizer, y)


class InvertedResidualBlock(GatedBlock):
    def __init__(self, block: InvertedResidual, shape: BlockShape) -> None:
        super().__init__()
        hidden = block.count_hidden(shape.in_channels)
        self.is_residual = shape.is_residual
        bits = list_layer_bits(block)
        self.expand = make_conv(shape.in_channels, hidden, bits["expand"])
        self.expand_norm = nn.BatchNorm1d(hidden)
        self.expand_quantizer = make_activation(bits["expand"], block.activation)
        self.depthwise = make_depthwise(hidden, block, bits["depthwise"])
        self.depthwise_norm = nn.BatchNorm1d(hidden)
        self.depthwise_quantizer = make_activation(bits["depthwise"], block.activation)
        self.add_gate(block, hidden)
        self.project = make_conv(hidden, shape.out_channels, bits["project"])
        self.project_norm = nn.BatchNorm1d(shape.out_channels)
        if block.linear_projection:
            self.output_quantizer = make_quantizer(bits["project"].activation, is_signed=True)
        else:
            self.output_quantizer = make_activation(bits["project"], "relu")

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y = self.expand_quantizer(self.expand_norm(self.expand(x)))  # (batch, hidden, in_length)
        y = self.depthwise_quantizer(self.depthwise_norm(self.depthwise(y)))  # (batch, hidden, out_length)
        y = self.project_norm(self.project(self.gate(y)))  # (batch, out_channels, out_length)
        if self.is_residual:
            y = x + _call(input_quantizer, y)
        return _call(self.output_quantizer, y)


class PoolBlock(QuantizedBlock):
    """One max pool, or a chain of them."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.pools = nn.Sequential(*(nn.MaxPool1d(size) for size in sizes))

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        pooled: Tensor = self.pools(x)
        return pooled


class AveragePoolBlock(QuantizedBlock):
    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.output_quantizer = make_quantizer(shape.out_bit_width, shape.is_signed)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        return _call(self.output_quantizer, x.mean(dim=2, keepdim=True))


class LinearBlock(QuantizedBlock):
    def __init__(self, block: Linear, shape: BlockShape) -> None:
        super().__init__()
        in_features = shape.in_channels * shape.in_length
        bits = list_layer_bits(block)["linear"]
        self.linear = qnn.QuantLinear(in_features, block.out_features, bias=False, **_weight_quant(bits))
        if bits.activation is not None:
            self.linear_norm = nn.BatchNorm1d(block.out_features)
            self.output_quantizer = make_activation(bits, block.activation)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y: Tensor = self.linear(torch.flatten(x, 1))  # (batch, out_features)
        if self.output_quantizer is None:
            return y
        return _call(self.output_quantizer, self.linear_norm(y))


class ParallelBlock(QuantizedBlock):
    """Branches side by side. Their last quantizer is one module, which this block owns."""

    def __init__(self, block: Parallel, shape: BlockShape) -> None:
        super().__init__()
        self.out_channels = shape.out_channels
        self.branches = nn.ModuleList(
            nn.ModuleList(make_block(inner, own) for inner, own in zip(branch, shapes, strict=True))
            for branch, shapes in zip(block.branches, shape.branches, strict=True)
        )
        for branch in self.branches:
            assert isinstance(branch, nn.ModuleList)
            last = next(inner for inner in reversed(branch) if inner.output_quantizer is not None)
            own = last.output_quantizer
            assert isinstance(own, nn.Module)
            self.output_quantizer = self.output_quantizer or own
            del last.output_quantizer
            object.__setattr__(last, "output_quantizer", self.output_quantizer)  # no child: its state is stored once

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        ends = [run_blocks(branch, x, input_quantizer)[0] for branch in self.branches]  # type: ignore[arg-type]
        return torch.cat(ends, dim=1)


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, input_quantizer: nn.Module | None
) -> tuple[Tensor, nn.Module | None]:
    """What leaves the blocks, one after another, and the quantizer that made it; `input_quantizer` made `x`."""
    for block in blocks:
        assert isinstance(block, QuantizedBlock)
        x = block(x, input_quantizer)
        input_quantizer = block.output_quantizer or input_quantizer
    return x, input_quantizer


def make_block(block: Block, shape: BlockShape) -> QuantizedBlock:
    """The module for one block; its weights are drawn from torch's global generator."""
    match block:
        case InputQuantizer():
            return InputQuantizerBlock(block)
        case HardTanh():
            return HardTanhBlock(block)
        case Conv():
            return ConvBlock(block, shape)
        case DepthwiseSeparable():
            return DepthwiseSeparableBlock(block, shape)
        case InvertedResidual():
            return InvertedResidualBlock(block, shape)
        case MaxPool():
            return PoolBlock((block.kernel_size,))
        case GlobalPool(operation="average"):
            return AveragePoolBlock(shape)
        case GlobalPool():
            return PoolBlock(split_global_pool(shape.in_length))
        case Linear():
            return LinearBlock(block, shape)
        case Parallel():
            return ParallelBlock(block, shape)


SIGNED_NORM = 0.75, 1.4
"""Weight and bias of a batch norm behind which a ReLU lets 97 % of a signed signal through, within its range."""


@torch.no_grad()
def keep_signs(blocks: Iterable[nn.Module]) -> None:
    """Begins a depthwise block that reads the frames themselves so that its ReLU does not take half of the signal.

    I and Q, alike in distribution, begin with the same filter. Else a training may end with one of them half lost.
    """
    first = next((block for block in blocks if not isinstance(block, InputQuantizerBlock | HardTanhBlock)), None)
    if not isinstance(first, DepthwiseSeparableBlock):
        return
    filters = first.depthwise.get_parameter("weight")  # (channels, 1, kernel size)
    filters.copy_(filters[:1].expand_as(filters).clone())
    weight, bias = SIGNED_NORM
    first.depthwise_norm.weight.fill_(weight)
    first.depthwise_norm.bias.fill_(bias)


def make_conv(
    in_channels: int, out_channels: int, bits: LayerBits, kernel_size: int = 1, stride: int = 1, groups: int = 1
) -> nn.Module:
    """A convolution without bias, padded so that stride 1 keeps the length; weights of `bits.weight`.

    Where the kernel size is even, its input has to have one sample more.
    """
    conv: nn.Module = qnn.QuantConv1d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=(kernel_size - 1) // 2,
        groups=groups,
        bias=False,
        **_weight_quant(bits),
    )
    return conv


def make_depthwise(channels: int, block: DepthwiseSeparable | InvertedResidual, bits: LayerBits) -> nn.Module:
    """A convolution of each channel by itself, with the block's kernel size and stride."""
    return make_conv(channels, channels, bits, block.kernel_size, block.stride, groups=channels)


def make_activation(bits: LayerBits, activation: str) -> nn.Module:
    """ReLU or hard-swish, then integers with a trained scale; at 32 bits the function alone."""
    if activation == "hard_swish":
        return nn.Sequential(nn.Hardswish(), make_quantizer(bits.activation, is_signed=True))
    if bits.activation == FLOAT_BIT_WIDTH:
        return nn.ReLU()
    relu: nn.Module = qnn.QuantReLU(
        act_quant=Uint8ActPerTensorFloatMaxInit, bit_width=bits.activation, max_val=INITIAL_ACTIVATION_RANGE
    )
    return relu


def make_quantizer(bit_width: int | None, is_signed: bool) -> nn.Module:
    """Integers with a trained scale; nothing at 32 bits."""
    if bit_width == FLOAT_BIT_WIDTH:
        return nn.Identity()
    lowest = {"min_val": -INITIAL_ACTIVATION_RANGE} if is_signed else {}
    quantizer: nn.Module = qnn.QuantIdentity(
        act_quant=TrainedSignedScale if is_signed else Uint8ActPerTensorFloatMaxInit,
        bit_width=bit_width,
        max_val=INITIAL_ACTIVATION_RANGE,
        **lowest,
    )
    return quantizer


def _weight_quant(bits: LayerBits) -> dict[str, object]:
    if bits.weight == FLOAT_BIT_WIDTH:
        return {"weight_quant": None}
    return {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": bits.weight}


def _call(module: nn.Module | None, x: Tensor) -> Tensor:
    assert module is not None  # infer_shapes allows a residual only behind a block with an output quantizer
    y: Tensor = module(x)
    return y
