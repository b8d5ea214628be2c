"""A network as its fused layers: each convolution or linear layer with the batch norm and quantizer behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.functional_quantizers import ActivationQuantizer, UnsupportedModuleError, WeightQuantizer
from workers.layers import (
    ConvBlock,
    DepthwiseSeparableBlock,
    HardTanhBlock,
    InputQuantizerBlock,
    InvertedResidualBlock,
    LinearBlock,
    PoolBlock,
)
from workers.model import QuantizedNetwork


@dataclass(frozen=True)
class InputLayer:
    """Quantizes the frames."""

    quantizer: ActivationQuantizer


@dataclass(frozen=True)
class ClipLayer:
    """Clips the frames, which stay floats."""

    lowest: float
    highest: float

    def __call__(self, x: Tensor) -> Tensor:
        """Of the shape of `x`."""
        return x.clamp(self.lowest, self.highest)


@dataclass(frozen=True)
class ConvLayer:
    """Convolution, batch norm, quantized ReLU."""

    conv: nn.Conv1d
    weight: WeightQuantizer
    norm: nn.BatchNorm1d
    quantizer: ActivationQuantizer


@dataclass(frozen=True)
class ConvChain:
    """Convolutions one after another.

    Where `is_residual`, the chain's input is added in front of the last quantizer. What is added to it is first
    quantized by the quantizer that made this input.
    """

    convolutions: tuple[ConvLayer, ...]
    is_residual: bool


@dataclass(frozen=True)
class PoolLayer:
    """The maximum of `size` neighbours; of equal ones the first gets the gradient."""

    size: int


@dataclass(frozen=True)
class LinearLayer:
    """Fully connected layer, batch norm, quantized ReLU; the last one has neither batch norm nor quantizer."""

    linear: nn.Linear
    weight: WeightQuantizer
    norm: nn.BatchNorm1d | None
    quantizer: ActivationQuantizer | None

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, out_features) of a batch of any shape, bit for bit what the model's own modules compute."""
        y = F.linear(torch.flatten(x, 1), self.weight())
        if self.norm is None or self.quantizer is None:
            return y
        return self.quantizer(self.norm(y))


FusedLayer = InputLayer | ClipLayer | ConvChain | PoolLayer | LinearLayer


def list_fused_layers(model: QuantizedNetwork) -> tuple[FusedLayer, ...]:
    """The fused layers in the order frames pass them, on the model's own modules.

    Raises UnsupportedModuleError, which names the module.
    """
    return tuple(
        layer for name, block in model.blocks.named_children() for layer in _layers_of(f"blocks.{name}", block)
    )


def join_pools(layers: tuple[FusedLayer, ...]) -> Iterator[tuple[FusedLayer, int]]:
    """Each layer with the size of the pool directly behind it, which it takes over; 1 where there is none.

    Only a ConvChain takes pools over. Several pools are one: its size is the product of theirs.
    """
    remaining = list(layers)
    while remaining:
        layer, pool_size = remaining.pop(0), 1
        while isinstance(layer, ConvChain) and remaining and isinstance(remaining[0], PoolLayer):
            pool_size *= remaining[0].size
            remaining.pop(0)
        yield layer, pool_size


def _layers_of(name: str, block: nn.Module) -> tuple[FusedLayer, ...]:
    if getattr(block, "has_gate", False):
        raise UnsupportedModuleError(f"{name} has a gate; expected none")
    match block:
        case HardTanhBlock():
            clip = block.output_quantizer
            assert isinstance(clip, nn.Hardtanh)
            return (ClipLayer(clip.min_val, clip.max_val),)
        case InputQuantizerBlock():
            assert block.output_quantizer is not None
            return (InputLayer(ActivationQuantizer(f"{name}.output_quantizer", block.output_quantizer)),)
        case ConvBlock():
            return (_chain(name, block, ("conv", "conv_norm", "output_quantizer")),)
        case DepthwiseSeparableBlock():
            depthwise = ("depthwise", "depthwise_norm", "depthwise_quantizer")
            return (_chain(name, block, depthwise, ("pointwise", "pointwise_norm", "output_quantizer")),)
        case InvertedResidualBlock():
            expand = ("expand", "expand_norm", "expand_quantizer")
            depthwise = ("depthwise", "depthwise_norm", "depthwise_quantizer")
            return (_chain(name, block, expand, depthwise, ("project", "project_norm", "output_quantizer")),)
        case PoolBlock():
            return tuple(PoolLayer(pool.kernel_size) for pool in block.pools)  # type: ignore[arg-type]
        case LinearBlock():
            return (_linear(name, block),)
    raise UnsupportedModuleError(f"{name} is {type(block).__name__}; expected a block that a study file offers")


def _chain(name: str, block: nn.Module, *names: tuple[str, str, str]) -> ConvChain:
    return ConvChain(tuple(_conv(name, block, *parts) for parts in names), getattr(block, "is_residual", False))


def _conv(name: str, block: nn.Module, conv: str, norm: str, quantizer: str) -> ConvLayer:
    layer, batch_norm = block.get_submodule(conv), block.get_submodule(norm)
    assert isinstance(layer, nn.Conv1d)
    assert isinstance(batch_norm, nn.BatchNorm1d)
    _check_padding(f"{name}.{conv}", layer)
    activation = _activation(f"{name}.{quantizer}", block.get_submodule(quantizer))
    return ConvLayer(layer, WeightQuantizer(f"{name}.{conv}", layer), batch_norm, activation)


def _check_padding(name: str, conv: nn.Conv1d) -> None:
    size = conv.kernel_size[0]
    if size % 2 == 0:
        raise UnsupportedModuleError(f"{name} has {size} taps; expected an odd number")
    given = (conv.padding, conv.dilation, conv.padding_mode)
    expected = ((size // 2,), (1,), "zeros")
    if given != expected:
        raise UnsupportedModuleError(f"{name} has padding, dilation and padding mode {given}; expected {expected}")


def _linear(name: str, block: LinearBlock) -> LinearLayer:
    weight = WeightQuantizer(f"{name}.linear", block.linear)
    if block.output_quantizer is None:
        return LinearLayer(block.linear, weight, None, None)
    activation = _activation(f"{name}.output_quantizer", block.output_quantizer)
    return LinearLayer(block.linear, weight, block.linear_norm, activation)


def _activation(name: str, module: nn.Module | None) -> ActivationQuantizer:
    """Of a layer: fused layers know unsigned integers alone."""
    assert module is not None
    quantizer = ActivationQuantizer(name, module)
    if not quantizer.is_relu:
        raise UnsupportedModuleError(f"{name} has no ReLU; expected one")
    return quantizer
