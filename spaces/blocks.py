"""The kinds of blocks that networks are made of, and the bits of their layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FLOAT_BIT_WIDTH = 32
"""Stands for float32: no quantization."""

QUANTIZED_BIT_WIDTHS = range(2, 9)


def _check_bit_width(value: int) -> int:
    if value not in QUANTIZED_BIT_WIDTHS and value != FLOAT_BIT_WIDTH:
        raise ValueError("expected 2 to 8 bits, or 32 for float")
    return value


def _check_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("expected an odd kernel size (padding is kernel_size // 2 on both sides)")
    return value


BitWidth = Annotated[
    int,
    AfterValidator(_check_bit_width),
    Field(description="2 to 8 bits, or 32 for float", json_schema_extra={"enum": [2, 3, 4, 5, 6, 7, 8, 32]}),
]
"""Bits of a weight or an activation: 2 to 8, or 32 for float."""

KernelSize = Annotated[
    int,
    Field(
        ge=1,
        le=255,
        description="an odd whole number from 1 to 255",
        json_schema_extra={"not": {"multipleOf": 2}},
    ),
    AfterValidator(_check_odd),
]
"""Taps of a convolution along time. Odd, so that padding keeps frames centred."""

AnyKernelSize = Annotated[int, Field(ge=1, le=255)]
"""Taps of a convolution along time. Where they are even, one more zero is padded behind the frame than before it."""

Activation = Annotated[Literal["relu", "hard_swish"], Field(exclude_if=lambda value: value == "relu")]
"""hard_swish is x ReLU6(x + 3) / 6 (Howard et al., "Searching for MobileNetV3", ICCV 2019). Its integers are signed."""

OwnBitWidth = Annotated[BitWidth | None, Field(exclude_if=lambda value: value is None)]
"""Bits of one layer of a block; None: as in the rest of the block. Stored only where given: ids stay as they were."""

Stride = Annotated[int, Field(ge=1, le=16)]
Channels = Annotated[int, Field(ge=1, le=4096)]

OwnChannels = Annotated[Channels | None, Field(exclude_if=lambda value: value is None)]
"""Channels of a layer that a block may have or not; None: it has not."""


class FrozenModel(BaseModel):
    """A value from outside. It is frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


Features = Literal["iq", "magnitude_phase", "phase_difference", "power"]
"""What the host gives the network of the samples: I and Q; |x| and its phase; |x| and the phase from sample to sample;
I, Q and |x| squared. Phases are in radians, from -pi to pi."""

FEATURE_CHANNELS: dict[Features, int] = {"iq": 2, "magnitude_phase": 2, "phase_difference": 2, "power": 3}


class InputQuantizer(FrozenModel):
    """Quantizes I/Q samples, or features of them, to signed integers with the fixed scale clip / 2**(bit_width - 1).

    Samples below `lowest` become it: -2 with the clip 3 is BacalhauNet's hard tanh.
    """

    type: Literal["input_quantizer"] = "input_quantizer"
    bit_width: Annotated[int, Field(ge=2, le=8)] = 8
    clip: Annotated[float, Field(gt=0, strict=False)] = 3.0
    lowest: Annotated[float | None, Field(lt=0, strict=False, exclude_if=lambda value: value is None)] = None
    """At least -clip; None: -clip."""
    features: Annotated[Features, Field(exclude_if=lambda value: value == "iq")] = "iq"
    """Computed on the host: the challenge's cost counts from the network's input on."""


class HardTanh(FrozenModel):
    """Clips I/Q samples, which stay floats: for networks that are not quantized."""

    type: Literal["hard_tanh"] = "hard_tanh"
    lowest: Annotated[float, Field(lt=0, strict=False)] = -2.0
    highest: Annotated[float, Field(gt=0, strict=False)] = 3.0


class Conv(FrozenModel):
    """Convolution along time, batch norm, quantized ReLU or hard-swish."""

    type: Literal["conv"] = "conv"
    out_channels: Channels
    kernel_size: AnyKernelSize
    stride: Stride = 1
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth
    activation: Activation = "relu"


class DepthwiseSeparable(FrozenModel):
    """Depthwise then pointwise convolution, each with batch norm and quantized ReLU (BacalhauNet's DSC block).

    `residual` adds the block's input to its output: true always, false never, null where shapes allow it.
    The depthwise layer has the block's bit widths unless it is given its own.
    With `squeeze_channels` a gate follows it: the mean of each channel over time goes through two linear layers,
    "squeeze" to so many channels and "excite" back, and a hard sigmoid scales the channel (Hu et al., "Squeeze-and-
    Excitation Networks", CVPR 2018). The product has `excite_activation_bit_width`.
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
    activation: Activation = "relu"
    squeeze_channels: OwnChannels = None
    excite_activation_bit_width: OwnBitWidth = None


class InvertedResidual(FrozenModel):
    """Pointwise expansion, depthwise, pointwise projection, each with batch norm and quantized ReLU (MobileNet).

    The projection ends in a ReLU, too. So its sum with the input stays unsigned, which FINN's thresholds need. With
    `linear_projection` it has none, as in the papers. Expansion and depthwise layer have the block's bit widths unless
    they are given their own. `activation` is that of these two; the gate of `squeeze_channels` is as in
    `depthwise_separable`. The expansion is a factor, or `hidden_channels`.
    """

    type: Literal["inverted_residual"] = "inverted_residual"
    out_channels: Channels
    kernel_size: KernelSize
    stride: Stride = 1
    expansion: Annotated[int | None, Field(ge=1, le=16, exclude_if=lambda value: value is None)] = None
    hidden_channels: OwnChannels = None
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth
    expand_weight_bit_width: OwnBitWidth = None
    expand_activation_bit_width: OwnBitWidth = None
    depthwise_weight_bit_width: OwnBitWidth = None
    depthwise_activation_bit_width: OwnBitWidth = None
    residual: bool | None = None
    activation: Activation = "relu"
    linear_projection: Annotated[bool, Field(exclude_if=lambda value: value is False)] = False
    squeeze_channels: OwnChannels = None
    excite_activation_bit_width: OwnBitWidth = None

    def count_hidden(self, in_channels: int) -> int:
        """Channels between expansion and projection."""
        return self.hidden_channels or in_channels * (self.expansion or 1)


class LayerBits(NamedTuple):
    """Bits of a layer's weights, and of what its quantizer gives; `activation` is None where it has none."""

    weight: int
    activation: int | None


class MaxPool(FrozenModel):
    """Maximum of each `kernel_size` neighbouring samples, without overlap."""

    type: Literal["max_pool"] = "max_pool"
    kernel_size: Annotated[int, Field(ge=2, le=1024)]


class GlobalPool(FrozenModel):
    """Maximum or average of all samples that are left. The length becomes 1."""

    type: Literal["global_pool"] = "global_pool"
    operation: Annotated[Literal["max", "average"], Field(exclude_if=lambda value: value == "max")] = "max"
    bit_width: OwnBitWidth = None
    """Of an average, which is quantized again; None: as what is averaged."""


class Linear(FrozenModel):
    """Fully connected layer. The last one gives the class scores; the others have batch norm and an activation."""

    type: Literal["linear"] = "linear"
    out_features: Channels
    weight_bit_width: BitWidth
    activation_bit_width: BitWidth | None = None
    activation: Activation = "relu"


class Parallel(FrozenModel):
    """Branches that all read the same tensor; their channels are put side by side, the first branch's first.

    Each branch has a layer, and all end with the same length and bits: the last quantizer is one for all.
    """

    type: Literal["parallel"] = "parallel"
    branches: Annotated[tuple[tuple[Block, ...], ...], Field(min_length=2)]


Block = Annotated[
    InputQuantizer | HardTanh | Conv | DepthwiseSeparable | InvertedResidual | MaxPool | GlobalPool | Linear | Parallel,
    Field(discriminator="type"),
]

Parallel.model_rebuild()

BLOCK_TYPES: dict[str, type[FrozenModel]] = {
    "input_quantizer": InputQuantizer,
    "hard_tanh": HardTanh,
    "conv": Conv,
    "depthwise_separable": DepthwiseSeparable,
    "inverted_residual": InvertedResidual,
    "max_pool": MaxPool,
    "global_pool": GlobalPool,
    "linear": Linear,
    "parallel": Parallel,
}


def list_layer_bits(block: Block) -> Mapping[str, LayerBits]:
    """The bits of each convolution and linear layer of a block, by the layer's name in it, in the order frames pass.

    Those of `parallel` are its branches': it has none of its own.
    """
    match block:
        case Conv():
            return {"conv": LayerBits(block.weight_bit_width, block.activation_bit_width)}
        case DepthwiseSeparable():
            return {"depthwise": _own_bits(block, "depthwise"), **_gate_bits(block), "pointwise": _own_bits(block)}
        case InvertedResidual():
            inner = {name: _own_bits(block, name) for name in ("expand", "depthwise")}
            return {**inner, **_gate_bits(block), "project": _own_bits(block)}
        case Linear():
            return {"linear": LayerBits(block.weight_bit_width, block.activation_bit_width)}
    return {}


def _gate_bits(block: DepthwiseSeparable | InvertedResidual) -> dict[str, LayerBits]:
    if block.squeeze_channels is None:
        return {}
    bits = _own_bits(block, "depthwise")
    product = block.excite_activation_bit_width or bits.activation
    return {
        "squeeze": LayerBits(block.weight_bit_width, bits.activation),
        "excite": LayerBits(block.weight_bit_width, product),
    }


def _own_bits(block: DepthwiseSeparable | InvertedResidual, layer: str | None = None) -> LayerBits:
    bits = LayerBits(block.weight_bit_width, block.activation_bit_width)
    if layer is None:
        return bits
    weight = getattr(block, f"{layer}_weight_bit_width")
    activation = getattr(block, f"{layer}_activation_bit_width")
    return LayerBits(weight or bits.weight, activation or bits.activation)
