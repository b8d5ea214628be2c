"""The quantized blocks, from Brevitas parts: each computes what its description in `spaces.architecture` says.

FINN can build all of them: there is a batch norm in front of every unsigned activation quantizer, zero points are 0,
residual branches share one quantizer, a global pool is a chain of small pools, and class scores have no bias.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import brevitas.nn as qnn
import torch
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit
from torch import Tensor, nn

from spaces.architecture import (
    FLOAT_BIT_WIDTH,
    Block,
    BlockShape,
    Conv,
    DepthwiseSeparable,
    GlobalPool,
    InputQuantizer,
    InvertedResidual,
    LayerBits,
    Linear,
    MaxPool,
    list_layer_bits,
    split_global_pool,
)

INITIAL_ACTIVATION_RANGE = 4.265
"""The 99.999 % quantile of N(0, 1), which Brevitas's percentile statistics find behind a batch norm at the start.

A constant instead of those statistics: their phase of 300 steps is longer than a short training. Their scale has a
gradient of zero rather than none, and with that Adam and weight decay drive it to zero.
"""


class FixedScale(Int8ActPerTensorFloatMinMaxInit):  # type: ignore[misc]
    """Signed activations with a scale that is not trained."""

    scaling_impl_type = ScalingImplType.CONST


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
        self.output_quantizer = qnn.QuantIdentity(
            act_quant=FixedScale, bit_width=block.bit_width, min_val=-block.clip, max_val=block.clip
        )

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        return _call(self.output_quantizer, x)


class ConvBlock(QuantizedBlock):
    def __init__(self, block: Conv, shape: BlockShape) -> None:
        super().__init__()
        bits = list_layer_bits(block)["conv"]
        self.conv = make_conv(shape.in_channels, shape.out_channels, bits, block.kernel_size, block.stride)
        self.conv_norm = nn.BatchNorm1d(shape.out_channels)
        self.output_quantizer = make_relu(bits)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        return _call(self.output_quantizer, self.conv_norm(self.conv(x)))


class DepthwiseSeparableBlock(QuantizedBlock):
    def __init__(self, block: DepthwiseSeparable, shape: BlockShape) -> None:
        super().__init__()
        channels = shape.in_channels
        self.is_residual = shape.is_residual
        bits = list_layer_bits(block)
        self.depthwise = make_depthwise(channels, block, bits["depthwise"])
        self.depthwise_norm = nn.BatchNorm1d(channels)
        self.depthwise_quantizer = make_relu(bits["depthwise"])
        self.pointwise = make_conv(channels, shape.out_channels, bits["pointwise"])
        self.pointwise_norm = nn.BatchNorm1d(shape.out_channels)
        self.output_quantizer = make_relu(bits["pointwise"])

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y = self.depthwise_quantizer(self.depthwise_norm(self.depthwise(x)))  # (batch, in_channels, out_length)
        y = self.pointwise_norm(self.pointwise(y))  # (batch, out_channels, out_length)
        if self.is_residual:
            y = x + _call(input_quantizer, y)
        return _call(self.output_quantizer, y)


class InvertedResidualBlock(QuantizedBlock):
    def __init__(self, block: InvertedResidual, shape: BlockShape) -> None:
        super().__init__()
        hidden = shape.in_channels * block.expansion
        self.is_residual = shape.is_residual
        bits = list_layer_bits(block)
        self.expand = make_conv(shape.in_channels, hidden, bits["expand"])
        self.expand_norm = nn.BatchNorm1d(hidden)
        self.expand_quantizer = make_relu(bits["expand"])
        self.depthwise = make_depthwise(hidden, block, bits["depthwise"])
        self.depthwise_norm = nn.BatchNorm1d(hidden)
        self.depthwise_quantizer = make_relu(bits["depthwise"])
        self.project = make_conv(hidden, shape.out_channels, bits["project"])
        self.project_norm = nn.BatchNorm1d(shape.out_channels)
        self.output_quantizer = make_relu(bits["project"])

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y = self.expand_quantizer(self.expand_norm(self.expand(x)))  # (batch, hidden, in_length)
        y = self.depthwise_quantizer(self.depthwise_norm(self.depthwise(y)))  # (batch, hidden, out_length)
        y = self.project_norm(self.project(y))  # (batch, out_channels, out_length)
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


class LinearBlock(QuantizedBlock):
    def __init__(self, block: Linear, shape: BlockShape) -> None:
        super().__init__()
        in_features = shape.in_channels * shape.in_length
        bits = list_layer_bits(block)["linear"]
        self.linear = qnn.QuantLinear(in_features, block.out_features, bias=False, **_weight_quant(bits))
        if bits.activation is not None:
            self.linear_norm = nn.BatchNorm1d(block.out_features)
            self.output_quantizer = make_relu(bits)

    def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
        y: Tensor = self.linear(torch.flatten(x, 1))  # (batch, out_features)
        if self.output_quantizer is None:
            return y
        return _call(self.output_quantizer, self.linear_norm(y))


def make_block(block: Block, shape: BlockShape) -> QuantizedBlock:
    """The module for one block; its weights are drawn from torch's global generator."""
    match block:
        case InputQuantizer():
            return InputQuantizerBlock(block)
        case Conv():
            return ConvBlock(block, shape)
        case DepthwiseSeparable():
            return DepthwiseSeparableBlock(block, shape)
        case InvertedResidual():
            return InvertedResidualBlock(block, shape)
        case MaxPool():
            return PoolBlock((block.kernel_size,))
        case GlobalPool():
            return PoolBlock(split_global_pool(shape.in_length))
        case Linear():
            return LinearBlock(block, shape)


SIGNED_NORM = 0.75, 1.4
"""Weight and bias of a batch norm behind which a ReLU lets 97 % of a signed signal through, within its range."""


@torch.no_grad()
def keep_signs(blocks: Iterable[nn.Module]) -> None:
    """Begins a depthwise block that reads the frames themselves so that its ReLU does not take half of the signal.

    I and Q, alike in distribution, begin with the same filter. Else a training may end with one of them half lost.
    """
    first = next((block for block in blocks if not isinstance(block, InputQuantizerBlock)), None)
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
    """A convolution without bias, padded so that stride 1 keeps the length; weights of `bits.weight`."""
    conv: nn.Module = qnn.QuantConv1d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
        **_weight_quant(bits),
    )
    return conv


def make_depthwise(channels: int, block: DepthwiseSeparable | InvertedResidual, bits: LayerBits) -> nn.Module:
    """A convolution of each channel by itself, with the block's kernel size and stride."""
    return make_conv(channels, channels, bits, block.kernel_size, block.stride, groups=channels)


def make_relu(bits: LayerBits) -> nn.Module:
    """ReLU, then unsigned integers with a trained scale; plain ReLU at 32 bits."""
    if bits.activation == FLOAT_BIT_WIDTH:
        return nn.ReLU()
    relu: nn.Module = qnn.QuantReLU(
        act_quant=Uint8ActPerTensorFloatMaxInit, bit_width=bits.activation, max_val=INITIAL_ACTIVATION_RANGE
    )
    return relu


def _weight_quant(bits: LayerBits) -> dict[str, object]:
    if bits.weight == FLOAT_BIT_WIDTH:
        return {"weight_quant": None}
    return {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": bits.weight}


def _call(module: nn.Module | None, x: Tensor) -> Tensor:
    assert module is not None  # infer_shapes allows a residual only behind a block with an output quantizer
    y: Tensor = module(x)
    return y
