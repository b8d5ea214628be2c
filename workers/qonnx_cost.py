"""The ITU PS-007 inference cost of a QONNX file: one frame, exactly, or an error that names what is not countable."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import get_by_name

from workers.qonnx_graph import COUNTED, UncountableError, describe_shape, load_graph, name_node


class QonnxFileError(ValueError):
    """The file is not a QONNX model that can be scored."""


@dataclass(frozen=True)
class QonnxLayer:
    """What one layer of a file adds to the cost of a frame, its zero weights discounted."""

    name: str
    """Its operator and number, as qonnx names it."""
    bit_ops: float
    weight_bits: float


@dataclass(frozen=True)
class QonnxCost:
    """The layers of a file in order, and the frame for which they are counted."""

    layers: tuple[QonnxLayer, ...]
    frame: dict[str, list[int]]
    """Shape of each input without the batch."""


def count_qonnx_file(path: Path) -> QonnxCost:
    """The cost of each layer of a QONNX file: that of `qonnx.util.inference_cost` for a batch of 1.

    A layer that shares its weights with another one counts them again.
    Raises QonnxFileError where the file is missing, is no QONNX file, or has what cannot be counted.
    """
    if not path.is_file():
        raise QonnxFileError(f"{path} is missing; expected a QONNX file")
    try:
        model, n_frames = load_graph(path)
        layers = _count_layers(model, n_frames)
    except UncountableError as error:
        raise QonnxFileError(f"{path} cannot be scored: {error}") from error
    except Exception as error:  # qonnx and protobuf raise many kinds; each means that this is not such a file
        raise QonnxFileError(
            f"{path} is not a QONNX file that can be scored: {type(error).__name__}: {error}"
        ) from error
    if not layers:
        raise QonnxFileError(f"{path} has no {', '.join(COUNTED)} node; expected a network")
    return QonnxCost(tuple(layers), {i.name: model.get_tensor_shape(i.name)[1:] for i in model.graph.input})


@dataclass(frozen=True)
class _Operand:
    """One factor of a layer's products."""

    shape: list[int]
    bit_width: int
    n_nonzero: int | None
    """Of a constant; None where it is computed from the input."""


def _count_layers(model: ModelWrapper, n_frames: int) -> list[QonnxLayer]:
    numbers: Counter[str] = Counter()
    layers = []
    for node in model.graph.node:
        if node.op_type in COUNTED:
            layers.append(_count_layer(model, node, f"{node.op_type}_{numbers[node.op_type]}", n_frames))
            numbers[node.op_type] += 1
    return layers


def _count_layer(model: ModelWrapper, node: NodeProto, name: str, n_frames: int) -> QonnxLayer:
    left, right = (_read_operand(model, node, tensor) for tensor in node.input[:2])
    products = math.prod(_known_shape(model, node, node.output[0])) * _count_products_per_output(node, left, right)
    bit_ops = products * left.bit_width * right.bit_width / n_frames
    weights = [operand for operand in (left, right) if operand.n_nonzero is not None]
    if not weights:  # both are computed, as in attention: products and no weights
        return QonnxLayer(name, bit_ops, 0.0)
    (weight,) = weights  # of two constants, their product would be one
    assert weight.n_nonzero is not None, "so it was chosen"
    density = weight.n_nonzero / math.prod(weight.shape)
    return QonnxLayer(name, bit_ops * density, float(weight.n_nonzero * weight.bit_width))


def _count_products_per_output(node: NodeProto, left: _Operand, right: _Operand) -> int:
    if node.op_type == "Conv":
        if right.n_nonzero is None:
            raise UncountableError(f"{name_node(node)} computes its weights; expected constants")
        _, channels, *kernel = right.shape  # (out_channels, in_channels / groups, kernel sizes)
        groups = get_by_name(node.attribute, "group")
        expected = channels * (1 if groups is None else groups.i)
        if left.shape[1] != expected:
            given = f"takes {left.shape[1]} channels; expected {expected}, for which it has weights"
            raise UncountableError(f"{name_node(node)} {given}")
        return channels * math.prod(kernel)
    is_transposed = get_by_name(node.attribute, "transA")
    return left.shape[0] if is_transposed is not None and is_transposed.i else left.shape[-1]


def _read_operand(model: ModelWrapper, node: NodeProto, tensor: str) -> _Operand:
    shape, values = _known_shape(model, node, tensor), model.get_initializer(tensor)
    info = model.get_tensor_valueinfo(tensor)
    element_type = TensorProto.FLOAT if info is None else info.type.tensor_type.elem_type
    if element_type != TensorProto.FLOAT:
        given = TensorProto.DataType.Name(element_type)
        raise UncountableError(f"{name_node(node)} takes {tensor} of type {given}; expected FLOAT")
    n_nonzero = None if values is None else int(np.count_nonzero(values))
    return _Operand(shape, model.get_tensor_datatype(tensor).bitwidth(), n_nonzero)


def _known_shape(model: ModelWrapper, node: NodeProto, tensor: str) -> list[int]:
    shape: list[int] | None = model.get_tensor_shape(tensor)
    if not shape or min(shape) < 1:
        given = "unknown" if not shape else describe_shape(shape)
        raise UncountableError(
            f"shape of {tensor} at {name_node(node)} is {given}; expected one that the input's tells"
        )
    return shape
