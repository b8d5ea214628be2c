"""A network as the stages a functional twin computes: each MAC layer with the batch norm and quantizer behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from workers.functional_quantizers import ActivationQuantizer, NoTwinError, WeightQuantizer
from workers.layers import (
    ConvBlock,
    DepthwiseSeparableBlock,
    InputQuantizerBlock,
    InvertedResidualBlock,
    LinearBlock,
    PoolBlock,
)
from workers.model import QuantizedNetwork


@dataclass(frozen=True)
class InputStage:
    """Quantizes the frames."""

    quantizer: ActivationQuantizer


@dataclass(frozen=True)
class ConvStage:
    """Convolution, batch norm, quantized ReLU."""

    conv: nn.Conv1d
    weight: WeightQuantizer
    norm: nn.BatchNorm1d
    quantizer: ActivationQuantizer


@dataclass(frozen=True)
class ConvChain:
    """Convolutions one after another; where `is_residual`, the chain's input is added in front of the last quantizer,
    the batch norm there being quantized by the quantizer that made this input."""

    stages: tuple[ConvStage, ...]
    is_residual: bool


@dataclass(frozen=True)
class PoolStage:
    """The maximum over `size` neighbours; where several are equal, the first has the gradient."""

    size: int


@dataclass(frozen=True)
class LinearStage:
    """Fully connected layer; the last one has neither batch norm nor quantizer."""

    linear: nn.Linear
    weight: WeightQuantizer
    norm: nn.BatchNorm1d | None
    quantizer: ActivationQuantizer | None


Stage = InputStage | ConvChain | PoolStage | LinearStage


def list_stages(model: QuantizedNetwork) -> tuple[Stage, ...]:
    """The stages in the order frames pass them, on the model's own modules. Raises NoTwinError, naming the module."""
    return tuple(
        stage for name, block in model.blocks.named_children() for stage in _stages_of(f"blocks.{name}", block)
    )


def join_pools(stages: tuple[Stage, ...]) -> Iterator[tuple[Stage, int]]:
    """Each stage with the size of the pool behind it that it can take over, 2, or 1."""
    joined = False
    for stage, following in zip(stages, (*stages[1:], None), strict=True):
        if joined:
            joined = False
            continue
        joined = isinstance(stage, ConvChain) and not stage.is_residual and following == PoolStage(2)
        yield stage, 2 if joined else 1


def _stages_of(name: str, block: nn.Module) -> tuple[Stage, ...]:
    match block:
        case InputQuantizerBlock():
            return (InputStage(_activation(f"{name}.output_quantizer", block.output_quantizer)),)
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
            return tuple(PoolStage(pool.kernel_size) for pool in block.pools)  # type: ignore[arg-type]
        case LinearBlock():
            return (_linear(name, block),)
    raise NoTwinError(f"{name} is {type(block).__name__}; a twin is known of the blocks that a study file offers")


def _chain(name: str, block: nn.Module, *names: tuple[str, str, str]) -> ConvChain:
    return ConvChain(tuple(_conv(name, block, *parts) for parts in names), getattr(block, "is_residual", False))


def _conv(name: str, block: nn.Module, conv: str, norm: str, quantizer: str) -> ConvStage:
    layer, batch_norm = block.get_submodule(conv), block.get_submodule(norm)
    assert isinstance(layer, nn.Conv1d)
    assert isinstance(batch_norm, nn.BatchNorm1d)
    _check_padding(f"{name}.{conv}", layer)
    activation = _activation(f"{name}.{quantizer}", block.get_submodule(quantizer))
    return ConvStage(layer, WeightQuantizer(f"{name}.{conv}", layer), batch_norm, activation)


def _check_padding(name: str, conv: nn.Conv1d) -> None:
    given = (conv.padding, conv.dilation, conv.padding_mode)
    expected = ((conv.kernel_size[0] // 2,), (1,), "zeros")
    if given != expected:
        raise NoTwinError(f"{name} has padding, dilation and padding mode {given}; a twin is known of {expected}")


def _linear(name: str, block: LinearBlock) -> LinearStage:
    weight = WeightQuantizer(f"{name}.linear", block.linear)
    if block.output_quantizer is None:
        return LinearStage(block.linear, weight, None, None)
    activation = _activation(f"{name}.output_quantizer", block.output_quantizer)
    return LinearStage(block.linear, weight, block.linear_norm, activation)


def _activation(name: str, module: nn.Module | None) -> ActivationQuantizer:
    assert module is not None
    return ActivationQuantizer(name, module)
