"""A QONNX file as a graph of integers, in the form that FINN makes hardware layers of.

Between integer inputs and integer class scores there are sums of products (Im2Col and MatMul), counts of thresholds
(MultiThreshold), sums of two branches and pools, all channels last; no scale is left in between. FINN's own
streamlining comes to the same graph by moving scales through it, in single precision, in several times the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.intquant import int_quant

from .integer_nodes import GraphWriter, read_attribute
from .thresholds import Floats, Integers, Normalization, SumRange, find_thresholds

EXACT_FLOAT32_INTEGERS = 2**24
"""Up to this magnitude the float32 tensors of a graph hold every integer."""

ALLOWED = {
    "alpha": (1.0,),
    "auto_pad": (b"NOTSET", b""),
    "axis": (1,),
    "ceil_mode": (0,),
    "training_mode": (0,),
    "transA": (0,),
}
"""Attributes that change what a layer computes, and the values that are read here; the first is ONNX's default."""


class UnsupportedLayerError(Exception):
    """A layer of the QONNX file has no integer form here; the message says what has."""


@dataclass(frozen=True)
class Quantizer:
    """Integers from lowest to highest, each standing for itself times the scale."""

    scale: float
    bits: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class Codes:
    """A tensor of a quantizer's integers."""

    tensor: str
    quantizer: Quantizer


@dataclass(frozen=True)
class _Clip:
    """Frames whose samples are clipped before they are quantized."""

    tensor: str
    lowest: float
    highest: float


@dataclass(frozen=True)
class Sums:
    """A tensor of integer sums, not written yet: where batch norm's gain is negative, its weights turn round."""

    write: Callable[[Floats], str]
    """Given each channel's direction, 1 or -1: writes the tensor, returns its name."""
    range: SumRange
    step: Floats
    """(channels,): what a sum of 1 stands for."""
    norm: Normalization | None = None
    is_rectified: bool = False
    """Behind a ReLU: only an unsigned quantizer may follow, which does the same."""


@dataclass(frozen=True)
class IntegerNetwork:
    """The graph, how samples become its inputs, and what its outputs stand for."""

    model: ModelWrapper
    """Input (1, length, 1, channels), output (1, n_classes): integers as float32."""
    input_quantizer: Quantizer
    logit_scale: float


def make_integer_network(qonnx: ModelWrapper) -> IntegerNetwork:
    """The network in integers. Raises UnsupportedLayerError."""
    reader = _Reader(qonnx)
    for node in qonnx.graph.node:
        reader.read(node)
    last = reader.values.get(qonnx.graph.output[0].name)
    if not isinstance(last, Sums) or last.norm is not None or last.is_rectified or len(np.unique(last.step)) != 1:
        raise UnsupportedLayerError("the network's output is no fully connected layer's; expected one of one scale")
    assert reader.input_quantizer is not None  # no sum was without it
    model = reader.writer.finish(last.write(np.ones(len(last.step))))
    return IntegerNetwork(model, reader.input_quantizer, float(last.step[0]))


class _Reader:
    """Goes through the nodes in order; `values` has what each tensor of activations is."""

    def __init__(self, qonnx: ModelWrapper) -> None:
        self.writer = GraphWriter(qonnx)
        self.values: dict[str, Codes | Sums] = {}
        self.input_quantizer: Quantizer | None = None
        self._clip: _Clip | None = None
        self._qonnx = qonnx
        self._readers: dict[str, Callable[[NodeProto], Codes | Sums]] = {
            "Quant": self._read_quantizer,
            "Conv": self._read_convolution,
            "Gemm": self._read_linear,
            "MatMul": self._read_linear,
            "BatchNormalization": self._read_norm,
            "Relu": lambda node: replace(self._sums(node), is_rectified=True),
            "Add": self._read_sum,
            "MaxPool": self._read_pool,
            "Reshape": lambda node: self._pass_on(node, self.writer.write_flatten),
            "Flatten": lambda node: self._pass_on(node, self.writer.write_flatten),
        }

    def read(self, node: NodeProto) -> None:
        if node.op_type not in (known := {*self._readers, "Clip"}):
            raise UnsupportedLayerError(f"{node.name} is a {node.op_type}; expected one of {', '.join(sorted(known))}")
        for name, allowed in ALLOWED.items():
            if (value := read_attribute(node, name, allowed[0])) not in allowed:
                raise UnsupportedLayerError(f"{node.name} has {name} {value!r}; expected {allowed[0]!r}")
        if node.op_type == "Clip":
            self._read_clip(node)
        elif node.op_type != "Quant" or self._constant(node, 0) is None:
            self.values[node.output[0]] = self._readers[node.op_type](node)

    def _read_quantizer(self, node: NodeProto) -> Codes:
        quantizer = self._describe_quantizer(node)
        clip = self._clip
        if node.input[0] == (clip.tensor if clip else self._qonnx.graph.input[0].name):
            if clip is not None:  # rounding keeps the order: what is clipped before is clipped to the same integers
                quantizer = replace(
                    quantizer,
                    lowest=max(quantizer.lowest, round(clip.lowest / quantizer.scale)),
                    highest=min(quantizer.highest, round(clip.highest / quantizer.scale)),
                )
            self.input_quantizer = quantizer
            return Codes(self.writer.write_input(node, quantizer.lowest, quantizer.bits), quantizer)
        sums = self._sums(node)
        if quantizer.lowest != 0:
            raise UnsupportedLayerError(f"{node.name} has signed integers; expected unsigned ones behind the input's")
        channels = len(sums.step)
        plain = Normalization(np.ones(channels), np.zeros(channels), np.zeros(channels), np.ones(channels))
        norm = sums.norm or plain
        direction = np.where(norm.gain < 0, -1.0, 1.0)
        turned = replace(norm, gain=np.abs(norm.gain), mean=norm.mean * direction)
        bounds = _turn(sums.range, direction)
        thresholds = find_thresholds(bounds, sums.step, turned, quantizer.scale, quantizer.highest)
        tensor = self.writer.write_thresholds(node, sums.write(direction), thresholds, quantizer.bits)
        return Codes(tensor, quantizer)

    def _read_clip(self, node: NodeProto) -> None:
        bounds = [self._constant(node, at) for at in (1, 2) if at < len(node.input)]
        is_known = len(bounds) == 2 and all(bound is not None for bound in bounds)
        if node.input[0] != self._qonnx.graph.input[0].name or not is_known:
            raise UnsupportedLayerError(f"{node.name} is a Clip; expected one of the frames, with constant bounds")
        lowest, highest = (float(np.asarray(bound)) for bound in bounds)
        self._clip = _Clip(node.output[0], lowest, highest)

    def _read_convolution(self, node: NodeProto) -> Sums:
        codes = self._codes(node)
        weight, scale, bits = self._read_weight(node)  # (out_channels, in_channels / groups, kernel_size)
        groups = read_attribute(node, "group", 1)
        channels = self._qonnx.get_tensor_shape(node.input[0])[1]
        if groups not in (1, channels) or (groups > 1 and len(weight) != channels):
            raise UnsupportedLayerError(f"{node.name} has {groups} groups of {channels} channels; expected 1 or each")

        def write(direction: Floats) -> str:
            turned = weight * direction[:, None, None]
            tensor: str = self.writer.write_convolution(node, codes.tensor, turned, bits, is_depthwise=groups > 1)
            return tensor

        return self._make_sums(node, write, weight, codes, scale)

    def _read_linear(self, node: NodeProto) -> Sums:
        codes = self._codes(node)
        weight, scale, bits = self._read_weight(node)
        is_transposed = node.op_type == "Gemm" and read_attribute(node, "transB", 0) == 1
        weight = weight if is_transposed else weight.T  # (out_features, in_features)

        def write(direction: Floats) -> str:
            tensor: str = self.writer.write_linear(node, codes.tensor, weight * direction[:, None], bits)
            return tensor

        return self._make_sums(node, write, weight, codes, scale)

    def _read_norm(self, node: NodeProto) -> Sums:
        sums = self._sums(node)
        if sums.norm is not None or sums.is_rectified:
            raise UnsupportedLayerError(f"{node.name} is behind a ReLU or another batch norm; expected a layer's sums")
        gain, bias, mean, variance = (np.asarray(self._constant(node, at), np.float64) for at in range(1, 5))
        if len(gain) != len(sums.step):
            raise UnsupportedLayerError(f"{node.name} is behind a sum of branches; expected a layer with weights")
        # an attribute is float32; the decimal number that was meant is the shortest one that rounds to it
        epsilon = float(str(np.float32(read_attribute(node, "epsilon", 1e-5))))
        return replace(sums, norm=Normalization(gain, bias, mean, variance + epsilon))

    def _read_sum(self, node: NodeProto) -> Sums:
        first, second = (self._codes(node, at) for at in (0, 1))
        if first.quantizer.scale != second.quantizer.scale:
            raise UnsupportedLayerError(
                f"{node.name} adds integers of scale {first.quantizer.scale:g} to some of {second.quantizer.scale:g}; "
                "expected equal scales"
            )
        lowest, highest = (
            np.array([sum(getattr(codes.quantizer, name) for codes in (first, second))])
            for name in ("lowest", "highest")
        )
        return Sums(
            lambda _: self.writer.write_sum(node, first.tensor, second.tensor),
            SumRange(lowest, highest),
            np.array([first.quantizer.scale]),
        )

    def _read_pool(self, node: NodeProto) -> Codes:
        if (dilations := read_attribute(node, "dilations", [1])) != [1]:
            raise UnsupportedLayerError(f"{node.name} has dilations {dilations}; expected [1]")
        return self._pass_on(node, self.writer.write_pool)

    def _pass_on(self, node: NodeProto, write: Callable[[NodeProto, str], str]) -> Codes:
        codes = self._codes(node)
        return replace(codes, tensor=write(node, codes.tensor))

    def _make_sums(
        self, node: NodeProto, write: Callable[[Floats], str], weight: Integers, codes: Codes, scale: Floats
    ) -> Sums:
        bounds = _bound_sums(weight, codes.quantizer)
        if bounds.largest_magnitude >= EXACT_FLOAT32_INTEGERS:
            raise UnsupportedLayerError(
                f"{node.name} has sums up to {bounds.largest_magnitude}; expected less than {EXACT_FLOAT32_INTEGERS}, "
                "below which FINN's tensors hold every integer"
            )
        return Sums(write, bounds, np.broadcast_to(scale * codes.quantizer.scale, len(weight)))

    def _read_weight(self, node: NodeProto) -> tuple[Integers, Floats, int]:
        """Integers in the shape of the layer's weights, their scale (1,) or (out_channels,), their bits."""
        quantizer = self._qonnx.find_producer(node.input[1])
        if len(node.input) > 2 and node.input[2]:
            raise UnsupportedLayerError(f"{node.name} has a bias; expected none")
        if quantizer is None or quantizer.op_type != "Quant":
            raise UnsupportedLayerError(f"{node.name} has weights that are not quantized")
        weight, scale, zero_point, bits = (np.asarray(self._constant(quantizer, at), np.float64) for at in range(4))
        signed, narrow = (_read_required(quantizer, name) for name in ("signed", "narrow"))
        rounding = read_attribute(quantizer, "rounding_mode", b"ROUND").decode()
        values = int_quant(weight, scale, zero_point, bits, signed, narrow, rounding)
        integers = np.rint(values / scale).astype(np.int64)
        if not integers.any():
            raise UnsupportedLayerError(
                f"{node.name} has weights that are all zero; expected one that is not: FINN gives its sums no bits"
            )
        return integers, scale.ravel(), int(bits)

    def _describe_quantizer(self, node: NodeProto) -> Quantizer:
        scale, zero_point, bits = (np.asarray(self._constant(node, at), np.float64).ravel() for at in range(1, 4))
        signed, narrow = (_read_required(node, name) for name in ("signed", "narrow"))
        rounding = read_attribute(node, "rounding_mode", b"ROUND").decode()
        if len(scale) != 1 or not scale[0] > 0 or zero_point.any() or narrow or rounding != "ROUND":
            raise UnsupportedLayerError(
                f"{node.name} has {len(scale)} scales from {scale.min():g}, zero point {zero_point[0]:g}, narrow "
                f"{narrow}, rounding {rounding}; expected one positive scale, zero point 0, narrow 0, ROUND"
            )
        n_bits = int(bits[0])
        lowest = -(2 ** (n_bits - 1)) if signed else 0
        return Quantizer(float(scale[0]), n_bits, lowest, lowest + 2**n_bits - 1)

    def _codes(self, node: NodeProto, index: int = 0) -> Codes:
        value = self.values.get(node.input[index])
        if not isinstance(value, Codes):
            raise UnsupportedLayerError(f"{node.name} is given values that are not quantized; expected a quantizer")
        return value

    def _sums(self, node: NodeProto) -> Sums:
        value = self.values.get(node.input[0])
        if not isinstance(value, Sums):
            raise UnsupportedLayerError(f"{node.name} is not behind a layer that sums; expected one")
        return value

    def _constant(self, node: NodeProto, index: int) -> np.ndarray | None:
        constant: np.ndarray | None = self._qonnx.get_initializer(node.input[index])
        return constant


def _read_required(node: NodeProto, name: str) -> int:
    value: int | None = read_attribute(node, name, None)
    if value is None:
        raise UnsupportedLayerError(f"{node.name} has no {name}; expected it, as QONNX does")
    return value


def _bound_sums(weight: Integers, inputs: Quantizer) -> SumRange:
    rows = weight.reshape(len(weight), -1)
    positive, negative = rows.clip(min=0).sum(axis=1), rows.clip(max=0).sum(axis=1)
    return SumRange(
        positive * inputs.lowest + negative * inputs.highest, positive * inputs.highest + negative * inputs.lowest
    )


def _turn(sums: SumRange, direction: Floats) -> SumRange:
    is_turned = direction < 0
    return SumRange(np.where(is_turned, -sums.highest, sums.lowest), np.where(is_turned, -sums.lowest, sums.highest))
