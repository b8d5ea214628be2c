"""A QONNX file as a graph whose layers can be counted: batch, shapes and bit widths known, constants computed.

What could make a count wrong is refused here, by name: nothing that multiplies is free.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.inliner
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes

COUNTED = ("Conv", "Gemm", "MatMul")
"""Operators whose products and weights the cost counts (ITU PS-007 rules)."""

_SCALINGS = ("BatchNormalization", "Div", "Mul", "PRelu")
"""Free where they multiply by constants, as batch norm and scales do."""

_QUANTIZERS = ("IntQuant", "Quant", "Trunc")
"""QONNX's own operators. `BipolarQuant`, `FloatQuant` and `MultiThreshold` have no bit width that could be read."""

_PASSING = ("Cast", "DepthToSpace", "Dropout", "ReduceMax", "ReduceMin", "SpaceToDepth", "Split")
"""Free; what they put out has the bit width of their input. qonnx takes it for float."""

_OTHER_FREE = (
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMean", "ReduceSum"),
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Tile"),
    *(
        "Transpose",
        "Unsqueeze",
        "DequantizeLinear",
        "QuantizeLinear",
        "Add",
        "ArgMax",
        "Max",
        "Min",
        "Sub",
        "Sum",
        "TopK",
    ),
    *("Abs", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softmax", "Softplus"),
    *("Softsign", "Sqrt", "Tanh", "ThresholdedRelu", "TopK"),
)
"""Pools, moves, sums and functions of one tensor."""

FREE = frozenset((*_SCALINGS, *_QUANTIZERS, *_PASSING, *_OTHER_FREE))
"""Operators that the cost does not count (ITU PS-007 rules)."""

_QONNX_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn")

_CODES = (TensorProto.INT8, TensorProto.UINT8)


class UncountableError(ValueError):
    """The message says what of the file cannot be counted, and what can."""


def load_graph(path: Path) -> tuple[ModelWrapper, int]:
    """The graph, and how many frames it takes at once: 1 where the file leaves that open.

    Raises UncountableError, and whatever onnx and qonnx raise at a file that is none of theirs.
    """
    proto = onnx.load(str(path))
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    _check_domains(proto.graph)
    n_frames = _fix_batch(proto.graph)
    _forget_shapes(proto.graph)
    _respell_datatypes(proto.graph)
    model = _infer(ModelWrapper(proto))
    _check_operators(model)
    _check_batch(model, n_frames)
    return model, n_frames


def name_node(node: NodeProto) -> str:
    """The node and its operator, for messages."""
    return f"{node.name or node.output[0]} ({node.op_type})"


def describe_shape(shape: Iterable[int]) -> str:
    """As 1 x 2 x 1024."""
    return " x ".join(map(str, shape))


def _check_domains(graph: GraphProto) -> None:
    """Before constants are computed: an unknown operator on weights would vanish, with what it knows of their bits."""
    if graph.sparse_initializer:
        raise UncountableError(f"{graph.sparse_initializer[0].values.name} is sparse; expected dense weights")
    for node in graph.node:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise UncountableError(f"{name_node(node)} holds a graph of its own; expected one graph of {_ALLOWED}")
        is_qonnx = node.op_type in _QUANTIZERS and node.domain in (*_QONNX_DOMAINS, "")
        if node.domain not in ("", "ai.onnx") and not is_qonnx:
            raise UncountableError(f"{name_node(node)} of {node.domain} is unknown; expected {_ALLOWED}")
        if is_qonnx:
            node.domain = _QONNX_DOMAINS[0]


_ALLOWED = (
    f"{', '.join(COUNTED)}, which are counted, and the free operators that workers/qonnx_graph.py lists, such as "
    "Add, Relu, MaxPool, Reshape, BatchNormalization and Quant"
)


def _fix_batch(graph: GraphProto) -> int:
    """Gives inputs that leave the batch open one of 1; returns the batch, which all inputs share."""
    constants = {initializer.name for initializer in graph.initializer}
    batches = {}
    for value in graph.input:
        if value.name in constants:
            continue
        dims = value.type.tensor_type.shape.dim
        if not dims:
            raise UncountableError(f"input {value.name} has no shape; expected batch and frame, such as 1 x 2 x 1024")
        for axis, dim in enumerate(dims):
            if dim.dim_value >= 1:
                continue
            if axis:
                size = dim.dim_param or dim.dim_value or "open"
                raise UncountableError(
                    f"axis {axis} of input {value.name} is {size}; expected a number: only the batch, axis 0, may vary"
                )
            dim.dim_value = 1
        batches[value.name] = dims[0].dim_value
    if len(set(batches.values())) != 1:
        raise UncountableError(f"axis 0 of the inputs is {batches or 'missing'}; expected one batch for all")
    return int(max(batches.values()))


def _forget_shapes(graph: GraphProto) -> None:
    """Shapes follow from the inputs' alone. Those that the file has may be of another batch."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _respell_datatypes(graph: GraphProto) -> None:
    """Datatypes of the year 2021, SCALEDINT4 and SCALEDUINT4, as qonnx reads them today: SCALEDINT<4>."""
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key != "finn_datatype":
                continue
            entry.value = re.sub(r"^SCALEDU?INT<?(\d+)>?$", r"SCALEDINT<\1>", entry.value)
            try:
                is_known = DataType[entry.value].bitwidth() >= 1
            except (AssertionError, IndexError, KeyError, ValueError):
                is_known = False
            if not is_known:
                raise UncountableError(
                    f"datatype of {annotation.tensor_name} is {entry.value}; expected one of at least 1 bit, "
                    "such as INT4, UINT4, SCALEDINT<4>, BIPOLAR or FLOAT32"
                )


def _infer(model: ModelWrapper) -> ModelWrapper:
    """Shapes and datatypes of all tensors, as `qonnx.util.inference_cost` finds them; what is constant, computed.

    Bit widths are computed before quantizers are: of a quantizer without one, qonnx takes the output for float.
    """
    model = model.transform(InferShapes())
    for node in model.graph.node:
        if node.op_type == "Clip" and _element_type(model, node.input[0]) in _CODES:
            raise UncountableError(f"{name_node(node)} narrows codes of 8 bits; expected Quant, which has a bit width")
    model = model.transform(FoldConstants(exclude_op_types=[*_QUANTIZERS, "DequantizeLinear"]))
    for node in model.graph.node:
        if node.op_type in ("Quant", "IntQuant"):
            _check_quantizer(model, node)
    model = model.transform(_InferDatatypes(allow_scaledint_dtypes=True))
    _check_joins(model)
    model = model.transform(FoldConstants(exclude_op_types=[]))
    return model.transform(_InferDatatypes(allow_scaledint_dtypes=True))


class _InferDatatypes(InferDataTypes):  # type: ignore[misc]  # qonnx has no types
    """Applied until nothing changes, as qonnx does."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        model, is_changed = super().apply(model)
        for node in model.graph.node:
            if node.op_type not in _PASSING:
                continue
            datatype = model.get_tensor_datatype(node.input[0])
            for tensor in filter(None, node.output):
                if model.get_tensor_datatype(tensor) != datatype:
                    model.set_tensor_datatype(tensor, datatype)
                    is_changed = True
        return model, is_changed


def _check_quantizer(model: ModelWrapper, node: NodeProto) -> None:
    scale, zero_point, bit_width = (model.get_initializer(name) for name in node.input[1:4])
    if scale is None or zero_point is None or bit_width is None:
        raise UncountableError(f"{name_node(node)} computes its scale or bit width; expected constants")
    bits = bit_width.reshape(-1)
    if len(bits) != 1 or not 1 <= bits[0] <= 32 or bits[0] % 1:
        raise UncountableError(f"bit width of {name_node(node)} is {bits.tolist()}; expected one of 1 to 32")
    if zero_point.any():
        raise UncountableError(f"zero point of {name_node(node)} is {zero_point.reshape(-1)[0]:g}; expected 0")
    model.set_initializer(node.input[3], bits[0])


def _check_joins(model: ModelWrapper) -> None:
    """Of tensors that are joined, qonnx takes the bit width of the first."""
    for node in model.graph.node:
        if node.op_type == "Concat":
            datatypes = [model.get_tensor_datatype(name) for name in node.input]
            if len({datatype.bitwidth() for datatype in datatypes}) > 1:
                names = ", ".join(datatype.name for datatype in datatypes)
                raise UncountableError(f"{name_node(node)} joins {names}; expected equal bit widths")


def _check_operators(model: ModelWrapper) -> None:
    """Each node that is left depends on the input. Raises UncountableError with all that cannot be counted."""
    problems = [problem for node in model.graph.node for problem in _find_problems(model, node)]
    if problems:
        raise UncountableError(f"{'; '.join(problems)}; expected {_ALLOWED}")


def _find_problems(model: ModelWrapper, node: NodeProto) -> Iterator[str]:
    if node.op_type in COUNTED:
        return
    constants = [(name, model.get_initializer(name)) for name in node.input]
    if node.op_type not in FREE:
        yield f"{name_node(node)} has no known cost"
    elif node.op_type in _SCALINGS and sum(value is None for _, value in constants) > 1 and not _is_gate(model, node):
        yield f"{name_node(node)} multiplies activations by one another"
    elif node.op_type not in ("Add", "Sub"):  # biases are free in any shape
        for name, value in constants:
            if value is not None and value.dtype.kind == "f" and sum(size > 1 for size in value.shape) > 1:
                yield f"{name_node(node)} takes weights, {describe_shape(value.shape)} of {name}"


def _is_gate(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether one factor is a number for each channel, as of squeeze and excitation: a scaling, as batch norm's is."""
    shapes = [model.get_tensor_shape(name) or [] for name in node.input]
    if node.op_type != "Mul" or len(shapes) != 2 or len(shapes[0]) != len(shapes[1]) or len(shapes[0]) < 3:
        return False
    sizes = sorted(math.prod(shape[2:]) for shape in shapes)
    return shapes[0][:2] == shapes[1][:2] and sizes[0] == 1


def _check_batch(model: ModelWrapper, n_frames: int) -> None:
    """Raise UncountableError where a frame is not the n-th part of what passes."""
    for node in model.graph.node:
        if node.op_type == "Reshape":
            before, after = (model.get_tensor_shape(name) or [] for name in (node.input[0], node.output[0]))
            if math.prod(before) != math.prod(after):
                given = f"{describe_shape(after)} of {describe_shape(before)}"
                raise UncountableError(f"{name_node(node)} makes {given}; expected the batch of the inputs, {n_frames}")
    for value in model.graph.output:
        shape = model.get_tensor_shape(value.name) or []
        if n_frames > 1 and shape[:1] != [n_frames]:
            raise UncountableError(
                f"axis 0 of the inputs is {n_frames}, output {value.name} is {describe_shape(shape)}; "
                "expected the batch as axis 0 of both"
            )


def _element_type(model: ModelWrapper, name: str) -> int:
    info = model.get_tensor_valueinfo(name)
    return TensorProto.UNDEFINED if info is None else int(info.type.tensor_type.elem_type)
