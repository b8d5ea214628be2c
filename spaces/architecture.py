"""One network with no choice left: a sequence of blocks, their shapes inferred, and a stable id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from spaces.blocks import (
    FEATURE_CHANNELS,
    FLOAT_BIT_WIDTH,
    Block,
    Conv,
    DepthwiseSeparable,
    Features,
    FrozenModel,
    GlobalPool,
    HardTanh,
    InputQuantizer,
    InvertedResidual,
    Linear,
    MaxPool,
    Parallel,
    list_layer_bits,
)

NOT_QUANTIZED = "the network has 32-bit weights or activations; expected at most 8 bits everywhere for an FPGA"
"""Why an architecture that is not `is_quantized` cannot go to an FPGA."""


class ArchitectureError(ValueError):
    """Each block is valid, but together they form no network."""


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
    is_signed: bool = False
    """Whether what leaves can be negative."""
    branches: tuple[tuple[BlockShape, ...], ...] = ()
    """Of `parallel`: the shapes of each branch's blocks."""


class ArchitectureConfig(FrozenModel):
    """One network: blocks in order, from frames (in_channels, frame_length), or features of them, to n_classes scores.

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
    def features(self) -> Features:
        """What of the samples the network is given."""
        first = self.blocks[0]
        return first.features if isinstance(first, InputQuantizer) else "iq"

    @property
    def input_shape(self) -> tuple[int, int]:
        """Channels and length of what the network is given of one frame."""
        channels = self.in_channels if self.features == "iq" else FEATURE_CHANNELS[self.features]
        return channels, self.frame_length

    @property
    def is_quantized(self) -> bool:
        """Whether all weights and all inputs of MAC layers have at most 8 bits, as FINN needs."""
        layers = [layer for _, block, _ in iterate_blocks(self) for layer in list_layer_bits(block).values()]
        bits = [width for layer in layers for width in layer if width is not None]
        pools = [shape for _, block, shape in iterate_blocks(self) if isinstance(block, GlobalPool)]
        bits += [shape.out_bit_width for shape in pools]
        return isinstance(self.blocks[0], InputQuantizer) and max(bits) < FLOAT_BIT_WIDTH


class _Tensor(NamedTuple):
    """What passes from one block to the next."""

    channels: int
    length: int
    bit_width: int
    is_signed: bool = True
    function: str = "none"
    """Of the last layer before: relu, hard_swish, linear; none where there is no layer."""


def infer_shapes(architecture: ArchitectureConfig) -> tuple[BlockShape, ...]:
    """The shape of each block, in order. Raises ArchitectureError where a block does not fit the one before it."""
    if not architecture.blocks:
        raise ArchitectureError("blocks is empty; expected at least one linear block")
    _check_end(architecture)
    frames = _Tensor(*architecture.input_shape, FLOAT_BIT_WIDTH)
    shapes = _infer_row(architecture.blocks, "blocks", frames)
    _check_stride_product(architecture)
    return shapes


def iterate_blocks(architecture: ArchitectureConfig) -> Iterator[tuple[str, Block, BlockShape]]:
    """Name, block and shape of each block in order, those of branches too, behind their `parallel`.

    A name is that of the block's module in the model that `workers.model.build_model` makes.
    """
    yield from _iterate(architecture.blocks, infer_shapes(architecture), "blocks")


def _iterate(
    blocks: Sequence[Block], shapes: Sequence[BlockShape], prefix: str
) -> Iterator[tuple[str, Block, BlockShape]]:
    for index, (block, shape) in enumerate(zip(blocks, shapes, strict=True)):
        yield f"{prefix}.{index}", block, shape
        if isinstance(block, Parallel):
            for number, (row, inner) in enumerate(zip(block.branches, shape.branches, strict=True)):
                yield from _iterate(row, inner, f"{prefix}.{index}.branches.{number}")


def _infer_row(blocks: Sequence[Block], path: str, tensor: _Tensor) -> tuple[BlockShape, ...]:
    shapes: list[BlockShape] = []
    for index, block in enumerate(blocks):
        place = f"{path}[{index}]"
        _check_order(blocks, index, path)
        shape = _infer_shape(block, place, tensor)
        function = _find_function((block,)) or tensor.function
        tensor = _Tensor(shape.out_channels, shape.out_length, shape.out_bit_width, shape.is_signed, function)
        shapes.append(shape)
    return tuple(shapes)


def _find_function(blocks: Sequence[Block]) -> str | None:
    """What ends the last layer of the blocks: relu, hard_swish or linear; None where they have no layer."""
    for block in reversed(blocks):
        match block:
            case Conv() | DepthwiseSeparable() | Linear():
                return block.activation
            case InvertedResidual():
                return "linear" if block.linear_projection else "relu"
            case Parallel():
                return _find_function(block.branches[0])
    return None


def make_float(architecture: ArchitectureConfig) -> ArchitectureConfig:
    """The same network with float32 weights and activations; only its frames are still quantized, if they were."""
    blocks = tuple(_float_block(block) for block in architecture.blocks)
    return ArchitectureConfig.model_validate({**dict(architecture), "blocks": blocks})


def _float_block(block: Block) -> Block:
    if isinstance(block, InputQuantizer):
        return block
    if isinstance(block, Parallel):
        branches = tuple(tuple(_float_block(inner) for inner in branch) for branch in block.branches)
        return block.model_copy(update={"branches": branches})
    widths = [name for name, value in block if "bit_width" in name and value is not None]
    return block.model_copy(update=dict.fromkeys(widths, FLOAT_BIT_WIDTH))


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


def _check_order(blocks: Sequence[Block], index: int, path: str) -> None:
    block, place = blocks[index], f"{path}[{index}]"
    if isinstance(block, InputQuantizer | HardTanh) and place != "blocks[0]":
        article = "an" if isinstance(block, InputQuantizer) else "a"
        raise ArchitectureError(f"{place} is {article} {block.type}; expected only as the first block")
    if isinstance(block, GlobalPool | Linear | Parallel) and path != "blocks":
        raise ArchitectureError(f"{place} is a {block.type}; expected none in a branch")
    if index > 0 and isinstance(blocks[index - 1], Linear) and not isinstance(block, Linear):
        raise ArchitectureError(f"{place} is a {block.type} after a linear block; expected linear")
    if isinstance(block, Linear) and index < len(blocks) - 1 and block.activation_bit_width is None:
        raise ArchitectureError(f"{place}.activation_bit_width is missing; only the last linear block has none")


def _check_end(architecture: ArchitectureConfig) -> None:
    block, place = architecture.blocks[-1], f"blocks[{len(architecture.blocks) - 1}]"
    if not isinstance(block, Linear) or block.out_features != architecture.n_classes:
        given = f"linear with {block.out_features} features" if isinstance(block, Linear) else block.type
        raise ArchitectureError(
            f"{place}, the last, is {given}; expected linear with one feature per class, {architecture.n_classes}"
        )
    if block.activation_bit_width is not None:
        raise ArchitectureError(
            f"{place}.activation_bit_width is {block.activation_bit_width}; "
            "expected none, for the last linear block gives the class scores"
        )


def _infer_shape(block: Block, place: str, tensor: _Tensor) -> BlockShape:
    entering = tensor[:3]
    channels, length, bit_width = entering
    match block:
        case InputQuantizer():
            _check_clip(block, place)
            return BlockShape(*entering, channels, length, block.bit_width, is_signed=True)
        case HardTanh():
            return BlockShape(*entering, channels, length, FLOAT_BIT_WIDTH, is_signed=True)
        case MaxPool():
            length = _pool_length(block, place, length)
            return BlockShape(*entering, channels, length, bit_width, is_signed=tensor.is_signed)
        case GlobalPool():
            out_bits = block.bit_width or bit_width if block.operation == "average" else bit_width
            return BlockShape(*entering, channels, 1, out_bits, is_signed=tensor.is_signed)
        case Linear():
            is_signed = block.activation_bit_width is None or block.activation == "hard_swish"
            out_bits = block.activation_bit_width or FLOAT_BIT_WIDTH
            return BlockShape(*entering, block.out_features, 1, out_bits, is_signed=is_signed)
        case Parallel():
            return _join_branches(block, place, tensor)
    if block.kernel_size > 2 * length - 1:
        raise ArchitectureError(
            f"{place}.kernel_size is {block.kernel_size}; expected at most {2 * length - 1}, for the length there is "
            f"{length}: other taps would see zeros alone"
        )
    if isinstance(block, InvertedResidual):
        _check_expansion(block, place)
        is_signed = block.linear_projection
    else:
        is_signed = block.activation == "hard_swish"
    out_length = -(-length // block.stride)
    is_residual = _is_residual(block, place, tensor)
    return BlockShape(*entering, block.out_channels, out_length, block.activation_bit_width, is_residual, is_signed)


def _check_clip(block: InputQuantizer, place: str) -> None:
    if block.lowest is not None and block.lowest < -block.clip:
        raise ArchitectureError(f"{place}.lowest is {block.lowest:g}; expected at least -clip, {-block.clip:g}")


def _check_expansion(block: InvertedResidual, place: str) -> None:
    if (block.expansion is None) == (block.hidden_channels is None):
        given = "missing" if block.expansion is None else block.expansion
        hidden = "missing" if block.hidden_channels is None else block.hidden_channels
        raise ArchitectureError(
            f"{place}.expansion is {given} with hidden_channels {hidden}; expected one of both, and the other left out"
        )


def _join_branches(block: Parallel, place: str, tensor: _Tensor) -> BlockShape:
    rows = []
    for number, branch in enumerate(block.branches):
        path = f"{place}.branches[{number}]"
        if _find_function(branch) is None:
            raise ArchitectureError(f"{path} has no layer; expected at least one convolution in each branch")
        rows.append(_infer_row(branch, path, tensor))
    functions = [str(_find_function(branch)) for branch in block.branches]
    ends = [(row[-1].out_length, row[-1].out_bit_width, end) for row, end in zip(rows, functions, strict=True)]
    for number, end in enumerate(ends):
        if end != ends[0]:
            raise ArchitectureError(
                f"{place}.branches[{number}] ends with {_describe_end(*end)}; expected {_describe_end(*ends[0])}, "
                "as the first branch"
            )
    length, bit_width, function = ends[0]
    channels = sum(row[-1].out_channels for row in rows)
    return BlockShape(*tensor[:3], channels, length, bit_width, is_signed=function != "relu", branches=tuple(rows))


def _describe_end(length: int, bit_width: int, function: str) -> str:
    return f"length {length}, {bit_width} bits and {function}"


def _pool_length(block: MaxPool, place: str, length: int) -> int:
    if length % block.kernel_size:
        raise ArchitectureError(
            f"{place}.kernel_size is {block.kernel_size}; expected a divisor of the length there, {length}"
        )
    return length // block.kernel_size


def _is_residual(block: Conv | DepthwiseSeparable | InvertedResidual, place: str, tensor: _Tensor) -> bool:
    if isinstance(block, Conv) or block.residual is False:
        return False
    has_same_end = tensor.function == _find_function((block,))  # what is added goes through the same quantizer
    is_possible = block.stride == 1 and block.out_channels == tensor.channels and has_same_end
    if block.residual and not is_possible:
        raise ArchitectureError(
            f"{place}.residual is true with stride {block.stride}, "
            f"{tensor.channels} -> {block.out_channels} channels; "
            "expected stride 1, equal channels and a block before it that ends as this one, as with ReLU"
        )
    return is_possible


def _check_stride_product(architecture: ArchitectureConfig) -> None:
    product = _multiply_strides(architecture.blocks)
    if product > architecture.frame_length:
        raise ArchitectureError(
            f"the product of all strides is {product}; expected at most the frame length, {architecture.frame_length}"
        )


def _multiply_strides(blocks: Sequence[Block]) -> int:
    """Over the way through the blocks that has most."""
    product = 1
    for block in blocks:
        match block:
            case Conv() | DepthwiseSeparable() | InvertedResidual():
                product *= block.stride
            case MaxPool():
                product *= block.kernel_size
            case Parallel():
                product *= max(_multiply_strides(branch) for branch in block.branches)
    return product


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors
