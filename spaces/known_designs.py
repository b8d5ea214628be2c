"""Networks found by hand, by name, and the values with which a study's space gives one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spaces.architecture import ArchitectureConfig, BlockShape, infer_shapes
from spaces.block_space import BlockEntry, BlockSpace, OneOfSpace, ParallelSpace
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, Linear, MaxPool, Parallel
from spaces.distributions import Choices, Drawable, FloatRange, IntRange, Scalar, Shared

_INPUT = InputQuantizer(clip=3.0)


def separable_network(
    layers: Sequence[tuple[int, int, int]], weights: int, activations: int, *, depthwise: int | None = None, linear: int
) -> ArchitectureConfig:
    """Depthwise-separable blocks of (kernel size, stride, channels), global pooling and a linear layer.

    `depthwise` are the bits of depthwise weights where these differ from the others.
    """
    blocks = [
        DepthwiseSeparable(
            kernel_size=kernel,
            stride=stride,
            out_channels=channels,
            weight_bit_width=weights,
            depthwise_weight_bit_width=depthwise,
            activation_bit_width=activations,
        )
        for kernel, stride, channels in layers
    ]
    return ArchitectureConfig(blocks=(_INPUT, *blocks, GlobalPool(), Linear(out_features=24, weight_bit_width=linear)))


def vgg10_network(bits: int, n_filters: int = 64, clip: float = 3.0) -> ArchitectureConfig:
    """The baseline of ITU PS-007 with these bits throughout: seven convolutions and pools, two hidden layers."""
    conv = Conv(out_channels=n_filters, kernel_size=3, weight_bit_width=bits, activation_bit_width=bits)
    hidden = Linear(out_features=128, weight_bit_width=bits, activation_bit_width=bits)
    convolutions = (conv, MaxPool(kernel_size=2)) * 7
    last = Linear(out_features=24, weight_bit_width=bits)
    return ArchitectureConfig(blocks=(InputQuantizer(clip=clip), *convolutions, hidden, hidden, last))


_BACALHAUNET = ((27, 2, 24), (21, 1, 24), (15, 2, 48), (9, 1, 48), (9, 2, 48))


def bacalhaunet_network(bits: int, linear: int) -> ArchitectureConfig:
    """Rosa et al., "BacalhauNet: A Tiny CNN for Lightning-Fast Modulation Classification", ITU J-FET."""
    return separable_network(_BACALHAUNET, weights=bits, activations=bits, linear=linear)


_FIGURE_4 = (
    ((21, 9, 17, 13), (2, 1, 2, 1), (24, 24, 30, 36)),
    ((21, 17, 13, 9), (2, 1, 2, 1), (24, 24, 30, 36)),
    ((21, 9, 17, 13), (1, 2, 1, 2), (24, 24, 30, 36)),
    ((21, 17, 13, 9), (1, 2, 1, 2), (24, 24, 30, 36)),
    ((21, 9, 17, 13), (2, 1, 2, 1), (32, 32, 32, 32)),
    ((21, 9, 17, 13), (2, 1, 2, 1), (24, 24, 48, 48)),
    ((21, 17, 13, 9), (2, 1, 2, 1), (24, 24, 48, 48)),
    ((21, 9, 17, 13), (2, 1, 2, 1), (24, 36, 36, 48)),
    ((27, 9, 21, 15), (2, 1, 2, 1), (24, 24, 48, 48)),
    ((21, 17, 13, 9), (2, 1, 2, 1), (24, 36, 36, 48)),
    ((27, 21, 15, 9), (2, 1, 2, 1), (24, 24, 48, 48)),
    ((27, 9, 21, 15), (2, 1, 2, 1), (24, 36, 36, 48)),
    ((33, 25, 17, 9), (2, 1, 2, 1), (24, 24, 48, 48)),
)
"""Kernels, strides and channels of four-block networks (Rosa et al., ITU AI/ML in 5G Challenge, report, figure 4a).

The figure has 15, two of them twice; 13 differ.
"""

KNOWN_ARCHITECTURES: Mapping[str, ArchitectureConfig] = {
    "bacalhaunet": bacalhaunet_network(6, linear=8),
    "vgg10": vgg10_network(8),
    # pointwise and linear weights of 4 bits, depthwise ones and activations of 6: more accurate per bit
    "bacalhaunet_mixed_bits": separable_network(_BACALHAUNET, weights=4, activations=6, depthwise=6, linear=4),
    # smaller still, with a first stride of 4
    "small_net": separable_network(((27, 4, 24), *_BACALHAUNET[1:]), weights=4, activations=4, depthwise=6, linear=4),
    **{
        f"four_blocks_{number:02}": separable_network(
            tuple(zip(kernels, strides, channels, strict=True)), weights=6, activations=6, linear=8
        )
        for number, (kernels, strides, channels) in enumerate(_FIGURE_4, start=1)
    },
}
"""Names that a study file may start with."""

BIT_WIDTH_FIELD = "bit_width"
"""Fields with this in their name are left to the study where its space does not have the value."""


@dataclass(frozen=True)
class Mismatch:
    """Why a space has no such network."""

    path: str
    """Of the field that differs, such as `space.blocks[2].kernel_size`."""
    given: str
    expected: str


def find_params(entries: Sequence[BlockEntry], architecture: ArchitectureConfig) -> dict[str, Scalar] | Mismatch:
    """The values with which the space gives this network, by their paths from the study file's root.

    Bit widths that the space does not have are left out: the sampler draws them.
    """
    return _find_row(entries, list(zip(architecture.blocks, infer_shapes(architecture), strict=True)), "space.blocks")


_Row = Sequence[tuple[Block, BlockShape]]

_Unrolled = list[tuple[str, BlockSpace | ParallelSpace]]
"""Blocks with no repetition left, each with its path."""


def _find_row(entries: Sequence[BlockEntry], blocks: _Row, path: str) -> dict[str, Scalar] | Mismatch:
    mismatch: Mismatch | None = None
    for repeats, unrolled in _unroll(entries, path, len(blocks)):
        if len(unrolled) != len(blocks):
            continue
        found = _match(unrolled, blocks)
        if not isinstance(found, Mismatch):
            return {**repeats, **found}
        mismatch = found
    expected = f"a number of repetitions that gives {len(blocks)} blocks"
    return mismatch or Mismatch(path, f"a list that never gives {len(blocks)} blocks", expected)


def _match(unrolled: _Unrolled, blocks: _Row) -> dict[str, Scalar] | Mismatch:
    params: dict[str, Scalar] = {}
    for (place, space), (block, shape) in zip(unrolled, blocks, strict=True):
        found = _match_block(place, space, block, shape)
        if isinstance(found, Mismatch):
            return found
        for path, value in found.items():
            if params.setdefault(path, value) != value:
                return Mismatch(place, f"one whose {path} is {params[path]}, as others have it", str(value))
    return params


def _match_block(
    place: str, space: BlockSpace | ParallelSpace, block: Block, shape: BlockShape
) -> dict[str, Scalar] | Mismatch:
    if space.type != block.type:
        return Mismatch(f"{place}.type", space.type, block.type)
    params: dict[str, Scalar] = {}
    if isinstance(space, ParallelSpace):
        assert isinstance(block, Parallel)
        if len(space.branches) != len(block.branches):
            return Mismatch(f"{place}.branches", f"{len(space.branches)} branches", str(len(block.branches)))
        for number, branch in enumerate(space.branches):
            row = list(zip(block.branches[number], shape.branches[number], strict=True))
            inner = _find_row(branch, row, f"{place}.branches[{number}]")
            if isinstance(inner, Mismatch):
                return inner
            params |= inner
        return params
    meanings = _list_meanings(block, shape)
    for name, given in _list_fields(block):
        drawable = space.fields.get(name, type(block).model_fields[name].default)
        path = f"{place}.{name}"
        if isinstance(drawable, Shared):
            path, drawable = drawable.name, drawable.values
        value = given if _has(drawable, given) else meanings.get(name, given)
        if _has(drawable, value):
            if isinstance(drawable, Choices | IntRange | FloatRange):
                params[path] = value
        elif BIT_WIDTH_FIELD not in name and name != "clip":
            return Mismatch(f"{place}.{name}", _describe(drawable), f"a range or choices with {value}")
    return params


def _list_fields(block: Block) -> list[tuple[str, Scalar]]:
    """All but the type, also those that are not stored where they have their default."""
    return [(name, getattr(block, name)) for name in type(block).model_fields if name != "type"]


def _list_meanings(block: Block, shape: BlockShape) -> dict[str, Scalar]:
    """What fields that are None stand for: another field's bits, or whether the shapes add up."""
    meanings: dict[str, Scalar] = {}
    for name, value in _list_fields(block):
        if value is None and name == "residual":
            meanings[name] = shape.is_residual
        elif value is None and BIT_WIDTH_FIELD in name and (own := name.partition("_")[2]) in type(block).model_fields:
            meanings[name] = getattr(block, own)
    return meanings


def _unroll(entries: Sequence[BlockEntry], path: str, longest: int) -> Iterator[tuple[dict[str, Scalar], _Unrolled]]:
    """All ways to repeat the groups that give no more than `longest` blocks: the numbers drawn, and the blocks."""
    ways: list[tuple[dict[str, Scalar], _Unrolled]] = [({}, [])]
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        ways = [way for before in ways for way in _extend(before, entry, place, longest)]
    yield from ways


def _extend(
    before: tuple[dict[str, Scalar], _Unrolled], entry: BlockEntry, place: str, longest: int
) -> Iterator[tuple[dict[str, Scalar], _Unrolled]]:
    repeats, blocks = before
    if isinstance(entry, BlockSpace | ParallelSpace):
        if len(blocks) < longest:
            yield repeats, [*blocks, (place, entry)]
        return
    if isinstance(entry, OneOfSpace):
        for name, variant in entry.one_of.items():
            ways = [({**repeats, entry.name or f"{place}.one_of": name}, blocks)]
            for index, inner in enumerate(variant):
                inner_place = f"{place}.one_of.{name}[{index}]"
                ways = [way for one in ways for way in _extend(one, inner, inner_place, longest)]
            yield from ways
        return
    path, repeat = f"{place}.repeat", entry.repeat
    if isinstance(repeat, Shared):
        path, repeat = repeat.name, repeat.values
    for n_times in range(longest + 1):
        if not _has(repeat, n_times):
            continue
        is_drawn = isinstance(repeat, Choices | IntRange)
        drawn = {**repeats, path: n_times} if is_drawn else repeats
        times = [
            (f"{place}.times[{time}].blocks[{index}]", inner)
            for time in range(n_times)
            for index, inner in enumerate(entry.blocks)
        ]
        ways = [(drawn, blocks)]
        for inner_place, inner in times:
            ways = [way for one in ways for way in _extend(one, inner, inner_place, longest)]
        yield from ways


def _has(drawable: Drawable, value: object) -> bool:
    match drawable:
        case Choices(choices):
            return value in choices
        case IntRange(low, high, step):
            return isinstance(value, int) and low <= value <= high and (value - low) % step == 0
        case FloatRange(low, high):
            return isinstance(value, int | float) and low <= value <= high
    return drawable == value


def _describe(drawable: Drawable) -> str:
    match drawable:
        case Choices(choices):
            return f"one of {', '.join(map(str, choices))}"
        case IntRange(low, high, step):
            return f"from {low} to {high}" + (f" in steps of {step}" if step != 1 else "")
        case FloatRange(low, high):
            return f"from {low:g} to {high:g}"
    return str(drawable)
