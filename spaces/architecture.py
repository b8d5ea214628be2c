"""One network with no choice left: a sequence of blocks, their shapes inferred, and a stable id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FLOAT_BIT_WIDTH = 32
"""Stands for float32: no quantization."""

NOT_QUANTIZED = "the network has 32-bit weights or activations; expected at most 8 bits everywhere for an FPGA"
"""Why an architecture that is not `is_quantized` cannot go to an FPGA."""

QUANTIZED_BIT_WIDTHS = range(2, 9)


class ArchitectureError(ValueError):
    """Each block is valid, but together they form no network."""


def _check_bit_width(value: int) -> int:
    if value not in QUANTIZED_BIT_WIDTHS and value != FLOAT_BIT_WIDTH:
        raise ValueError("expected 2 to 8 bits, or 32 for float")
    return value


def _check_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("expected an odd kernel size (padding is kernel_size // 2 on both sides)")
    return value


BitWidth = Annotated[int, AfterValidator(_check_bit_width), Field(description="2 to 8 bits, or 32 for float")]
"""Bits of a weight or an activation: 2 to 8, or 32 for float."""

KernelSize = Annotated[
    int, Field(ge=1, le=255, description="an odd whole number from 1 to 255"), AfterValidator(_check_odd)
]
"""Taps of a convolution along time. Odd, so that padding keeps frames centred."""

OwnBitWidth = Annotated[BitWidth | None, Field(exclude_if=lambda value: value is None)]
"""Bits of one layer of a block; None: as in the rest of the block. Stored only where given: ids stay as they were."""

Stride = Annotated[int, Field(ge=1, le=16)]
Channels = Annotated[int, Field(ge=1, le=4096)]


class FrozenModel(BaseModel):
    """A value from outside. It is frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class InputQuantizer(FrozenModel):
    """Quantizes I/Q samples to signed integers with the fixed scale clip / 2**(bit_width - 1)."""

    type: Literal["input_quantizer"] = "input_quantizer"
    bit_width: Annotated[int, Field(ge=2, le=8)] = 8
    clip: Annotated[float, Field(gt=0, strict=False)] = 3.0


class Conv(FrozenModel):
    """Convolution along time, batch norm, quantized ReLU."""

    type: Literal["conv"] = "conv"
    out_channels: Channels
    kernel_size: KernelSize
    stride: Stride = 1
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth


class DepthwiseSeparable(FrozenModel):
    """Depthwise then pointwise convolution, each with batch norm and quantized ReLU (BacalhauNet's DSC block).

    `residual` adds the block's input to its output: true always, false never, null where shapes allow it.
    The depthwise layer has the block's bit widths unless it is given its own.
    """

    type: Literal["depthwise_separable"] = "depthwise_separable"
    out_channels: Channels
    kernel_size: KernelSize
    stride: Stride = 1
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth
    depthwise_weight_bit_width: OwnBitWidth = None
    depthwise_activation_bit_width: OwnBitWidth = None
    residual: bool | None = None


class InvertedResidual(FrozenModel):
    """Pointwise expansion, depthwise, pointwise projection, each with batch norm and quantized ReLU (MobileNet).

    The projection ends in a ReLU, too. So its sum with the input stays unsigned, which FINN's thresholds need.
    Expansion and depthwise layer have the block's bit widths unless they are given their own.
    """

    type: Literal["inverted_residual"] = "inverted_residual"
    out_channels: Channels
    kernel_size: KernelSize
    stride: Stride = 1
    expansion: Annotated[int, Field(ge=1, le=16)]
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth
    expand_weight_bit_width: OwnBitWidth = None
    expand_activation_bit_width: OwnBitWidth = None
    depthwise_weight_bit_width: OwnBitWidth = None
    depthwise_activation_bit_width: OwnBitWidth = None
    residual: bool | None = None


class LayerBits(NamedTuple):
    """Bits of a layer's weights, and of what its quantizer gives; `activation` is None where it has none."""

    weight: int
    activation: int | None


class MaxPool(FrozenModel):
    """Maximum of each `kernel_size` neighbouring samples, without overlap."""

    type: Literal["max_pool"] = "max_pool"
    kernel_size: Annotated[int, Field(ge=2, le=1024)]


class GlobalPool(FrozenModel):
    """Maximum of all samples that are left. The length becomes 1."""

    type: Literal["global_pool"] = "global_pool"


class Linear(FrozenModel):
    """Fully connected layer. The last one gives the class scores; the others have batch norm and quantized ReLU."""

    type: Literal["linear"] = "linear"
    out_features: Channels
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth | None = None


Block = Annotated[
    InputQuantizer | Conv | DepthwiseSeparable | InvertedResidual | MaxPool | GlobalPool | Linear,
    Field(discriminator="type"),
]

BLOCK_TYPES: dict[str, type[FrozenModel]] = {
    "input_quantizer": InputQuantizer,
    "conv": Conv,
    "depthwise_separable": DepthwiseSeparable,
    "inverted_residual": InvertedResidual,
    "max_pool": MaxPool,
    "global_pool": GlobalPool,
    "linear": Linear,
}


@dataclass(frozen=True)
class BlockShape:
    """What enters and leaves one block; a tensor is (batch, channels, length)."""

    in_channels: int
    in_length: int
    in_bit_width: int
    out_channels: int
    out_length: int
    out_bit_width: int
    is_residual: bool = False


class ArchitectureConfig(FrozenModel):
    """One network: blocks in order, from frames (in_channels, frame_length) to n_classes scores.

    Raises pydantic's ValidationError, with an ArchitectureError inside, where the blocks do not fit together.
    """

    blocks: tuple[Block, ...]
    in_channels: Annotated[int, Field(ge=1)] = 2
    frame_length: Annotated[int, Field(ge=1)] = 1024
    n_classes: Annotated[int, Field(ge=2)] = 24

    @model_validator(mode="after")
    def _check_shapes(self) -> ArchitectureConfig:
        infer_shapes(self)
        return self

    @property
    def architecture_id(self) -> str:
        """Twelve hexadecimal digits, the same for equal networks on all machines and in all versions."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def is_quantized(self) -> bool:
        """Whether all weights and all inputs of MAC layers have at most 8 bits, as FINN needs."""
        bits = [bits for block in self.blocks for layer in list_layer_bits(block).values() for bits in layer]
        starts_quantized = isinstance(self.blocks[0], InputQuantizer)
        return starts_quantized and max(width for width in bits if width is not None) < FLOAT_BIT_WIDTH


def list_layer_bits(block: Block) -> Mapping[str, LayerBits]:
    """The bits of each convolution and linear layer of a block, by the layer's name in it, in order."""
    match block:
        case Conv():
            return {"conv": LayerBits(block.weight_bit_width, block.activation_bit_width)}
        case DepthwiseSeparable():
            return {"depthwise": _own_bits(block, "depthwise"), "pointwise": _own_bits(block)}
        case InvertedResidual():
            names = ("expand", "depthwise")
            return {**{name: _own_bits(block, name) for name in names}, "project": _own_bits(block)}
        case Linear():
            return {"linear": LayerBits(block.weight_bit_width, block.activation_bit_width)}
    return {}


def _own_bits(block: DepthwiseSeparable | InvertedResidual, layer: str | None = None) -> LayerBits:
    bits = LayerBits(block.weight_bit_width, block.activation_bit_width)
    if layer is None:
        return bits
    weight = getattr(block, f"{layer}_weight_bit_width")
    activation = getattr(block, f"{layer}_activation_bit_width")
    return LayerBits(weight or bits.weight, activation or bits.activation)


class _Tensor(NamedTuple):
    """What passes from one block to the next."""

    channels: int
    length: int
    bit_width: int


def infer_shapes(architecture: ArchitectureConfig) -> tuple[BlockShape, ...]:
    """The shape of each block, in order. Raises ArchitectureError where a block does not fit the one before it."""
    if not architecture.blocks:
        raise ArchitectureError("blocks is empty; expected at least one linear block")
    tensor = _Tensor(architecture.in_channels, architecture.frame_length, FLOAT_BIT_WIDTH)
    shapes: list[BlockShape] = []
    for index, block in enumerate(architecture.blocks):
        _check_order(architecture, index)
        shape = _infer_shape(block, index, tensor, is_unsigned=_is_after_relu(architecture, index))
        tensor = _Tensor(shape.out_channels, shape.out_length, shape.out_bit_width)
        shapes.append(shape)
    _check_stride_product(architecture)
    return tuple(shapes)


def split_global_pool(length: int) -> tuple[int, ...]:
    """Pool sizes whose product is `length`, largest first, each at most 16 where the factors allow it.

    The maximum is associative, so the chain is exact. One wide pool would be FINN's bottleneck.
    """
    factors = _prime_factors(length)
    pools: list[int] = []
    for factor in sorted(factors, reverse=True):
        fitting = [i for i, pool in enumerate(pools) if pool * factor <= 16]
        if fitting:
            pools[fitting[0]] *= factor
        else:
            pools.append(factor)
    return tuple(sorted(pools, reverse=True))


def _check_order(architecture: ArchitectureConfig, index: int) -> None:
    block, blocks = architecture.blocks[index], architecture.blocks
    is_last = index == len(blocks) - 1
    if isinstance(block, InputQuantizer) and index != 0:
        raise ArchitectureError(f"blocks[{index}] is an input_quantizer; expected only as the first block")
    if index > 0 and isinstance(blocks[index - 1], Linear) and not isinstance(block, Linear):
        raise ArchitectureError(f"blocks[{index}] is a {block.type} after a linear block; expected linear")
    if isinstance(block, Linear) and not is_last and block.activation_bit_width is None:
        raise ArchitectureError(f"blocks[{index}].activation_bit_width is missing; only the last linear block has none")
    if not is_last:
        return
    if not isinstance(block, Linear) or block.out_features != architecture.n_classes:
        given = f"linear with {block.out_features} features" if isinstance(block, Linear) else block.type
        raise ArchitectureError(
            f"blocks[{index}], the last, is {given}; "
            f"expected linear with one feature per class, {architecture.n_classes}"
        )
    if block.activation_bit_width is not None:
        raise ArchitectureError(
            f"blocks[{index}].activation_bit_width is {block.activation_bit_width}; "
            "expected none, for the last linear block gives the class scores"
        )


def _is_after_relu(architecture: ArchitectureConfig, index: int) -> bool:
    before = architecture.blocks[:index]
    return any(isinstance(b, Conv | DepthwiseSeparable | InvertedResidual | Linear) for b in before)


def _infer_shape(block: Block, index: int, entering: _Tensor, is_unsigned: bool) -> BlockShape:
    channels, length, bit_width = entering
    match block:
        case InputQuantizer():
            return BlockShape(*entering, channels, length, block.bit_width)
        case MaxPool():
            return BlockShape(*entering, channels, _pool_length(block, index, length), bit_width)
        case GlobalPool():
            return BlockShape(*entering, channels, 1, bit_width)
        case Linear():
            return BlockShape(*entering, block.out_features, 1, block.activation_bit_width or FLOAT_BIT_WIDTH)
    if block.kernel_size > length:
        raise ArchitectureError(
            f"blocks[{index}].kernel_size is {block.kernel_size}; expected at most the length there, {length}"
        )
    out_length = -(-length // block.stride)
    is_residual = _is_residual(block, index, channels, is_unsigned)
    return BlockShape(*entering, block.out_channels, out_length, block.activation_bit_width, is_residual)


def _pool_length(block: MaxPool, index: int, length: int) -> int:
    if length % block.kernel_size:
        raise ArchitectureError(
            f"blocks[{index}].kernel_size is {block.kernel_size}; expected a divisor of the length there, {length}"
        )
    return length // block.kernel_size


def _is_residual(
    block: Conv | DepthwiseSeparable | InvertedResidual, index: int, in_channels: int, is_unsigned: bool
) -> bool:
    if isinstance(block, Conv) or block.residual is False:
        return False
    is_possible = block.stride == 1 and block.out_channels == in_channels and is_unsigned
    if block.residual and not is_possible:
        raise ArchitectureError(
            f"blocks[{index}].residual is true with stride {block.stride}, "
            f"{in_channels} -> {block.out_channels} channels; "
            "expected stride 1, equal channels and a block with ReLU before it"
        )
    return is_possible


def _check_stride_product(architecture: ArchitectureConfig) -> None:
    product = 1
    for block in architecture.blocks:
        if isinstance(block, Conv | DepthwiseSeparable | InvertedResidual):
            product *= block.stride
        elif isinstance(block, MaxPool):
            product *= block.kernel_size
    if product > architecture.frame_length:
        raise ArchitectureError(
            f"the product of all strides is {product}; expected at most the frame length, {architecture.frame_length}"
        )


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors
