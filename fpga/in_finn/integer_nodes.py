"""The nodes of an integer graph as FINN's hardware layers are inferred from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.util.basic import get_by_name, qonnx_make_model

from .thresholds import Floats, Integers

CUSTOM_DOMAIN = "qonnx.custom_op.general"

INPUT = "global_in"


class GraphWriter:
    """A graph that grows node by node; each write returns the name of the tensor that it makes.

    Activations are (1, length, 1, channels), behind a flatten (1, features): integers as float32.
    """

    def __init__(self, qonnx: ModelWrapper) -> None:
        """`qonnx` is where shapes are read: (1, channels, length) there."""
        self._qonnx = qonnx
        self._nodes: list[NodeProto] = []
        self._tensors: list[ValueInfoProto] = []
        self._constants: dict[str, tuple[np.ndarray, BaseDataType | None]] = {}
        self._kernel_of_sparse: dict[str, int] = {}
        self._input = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [])
        self._input_type: BaseDataType = DataType["FLOAT32"]

    def write_input(self, quantizer: NodeProto, lowest: int, bits: int) -> str:
        """The integers that a host makes of samples."""
        _, channels, length = self._qonnx.get_tensor_shape(quantizer.output[0])
        self._input = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, length, 1, channels])
        self._input_type = _integer_type(bits, is_signed=lowest < 0)
        return INPUT

    def write_convolution(self, node: NodeProto, tensor: str, weight: Floats, bits: int, *, is_depthwise: bool) -> str:
        """Sums of `weight` (out_channels, in_channels / groups, kernel_size), integers."""
        kernel_size, stride, padding, dilation = _read_geometry(node, weight.shape[2])
        _, channels, length = self._qonnx.get_tensor_shape(node.input[0])
        if is_depthwise:
            dense = np.zeros((channels, channels, kernel_size))
            dense[np.arange(channels), np.arange(channels)] = weight[:, 0]
            weight = dense
        if (kernel_size, stride, padding) != (1, 1, (0, 0)) or is_depthwise:
            tensor = self._add(
                "Im2Col",
                [tensor],
                [*self._shape(node)[:3], channels * kernel_size],
                domain=CUSTOM_DOMAIN,
                stride=[stride, 1],
                kernel_size=[kernel_size, 1],
                pad_amount=[padding[0], 0, padding[1], 0],
                input_shape=f"(1,{length},1,{channels})",
                depthwise=int(is_depthwise),
                dilations=[dilation, 1],
            )
        matrix = self._add_constant(weight.transpose(2, 1, 0).reshape(-1, len(weight)), _weight_type(weight, bits))
        if is_depthwise:
            self._kernel_of_sparse[matrix] = kernel_size
        return self._add("MatMul", [tensor, matrix], self._shape(node))

    def write_linear(self, node: NodeProto, tensor: str, weight: Floats, bits: int) -> str:
        """Sums of `weight` (out_features, in_features), integers."""
        matrix = self._add_constant(weight.T, _weight_type(weight, bits))
        return self._add("MatMul", [tensor, matrix], self._shape(node))

    def write_thresholds(self, node: NodeProto, tensor: str, thresholds: Integers, bits: int) -> str:
        """How many of the thresholds (channels or 1, number) each integer has reached."""
        matrix = self._add_constant(thresholds, DataType["INT32"])
        return self._add(
            "MultiThreshold",
            [tensor, matrix],
            self._shape(node),
            domain=CUSTOM_DOMAIN,
            out_dtype=_integer_type(bits, is_signed=False).name,
            data_layout="NC" if len(self._shape(node)) == 2 else "NHWC",
        )

    def write_sum(self, node: NodeProto, first: str, second: str) -> str:
        """Of two tensors of one shape."""
        return self._add("Add", [first, second], self._shape(node))

    def write_pool(self, node: NodeProto, tensor: str) -> str:
        """The maximum over neighbours."""
        kernel_size, stride, padding, _ = _read_geometry(node)
        return self._add(
            "MaxPoolNHWC",
            [tensor],
            self._shape(node),
            domain=CUSTOM_DOMAIN,
            kernel_shape=[kernel_size, 1],
            strides=[stride, 1],
            pads=[padding[0], 0, padding[1], 0],
        )

    def write_flatten(self, node: NodeProto, tensor: str) -> str:
        """(1, length, 1, channels) becomes (1, channels * length), in the order of the QONNX file."""
        _, channels, length = self._qonnx.get_tensor_shape(node.input[0])
        first = self._add("Transpose", [tensor], [1, channels, length, 1], perm=[0, 3, 1, 2])
        shape = self._shape(node)
        return self._add("Reshape", [first, self._add_constant(np.array(shape, np.int64), None)], shape)

    def finish(self, output: str) -> ModelWrapper:
        """The model whose output is this tensor."""
        outputs = [tensor for tensor in self._tensors if tensor.name == output]
        between = [tensor for tensor in self._tensors if tensor.name != output]
        opset = helper.make_opsetid("", self._qonnx.get_opset_imports()[""])
        graph = helper.make_graph(self._nodes, "integers", [self._input], outputs, value_info=between)
        model = ModelWrapper(qonnx_make_model(graph, opset_imports=[opset]))
        for name, (values, datatype) in self._constants.items():
            model.set_initializer(name, values)
            if datatype is not None:
                model.set_tensor_datatype(name, datatype)
        for name, kernel_size in self._kernel_of_sparse.items():
            model.set_tensor_sparsity(name, {"dw": {"kernel_shape": [kernel_size, 1]}})
        model.set_tensor_datatype(INPUT, self._input_type)
        model.set_tensor_layout(INPUT, ["N", "H", "W", "C"])
        for transformation in (
            GiveUniqueNodeNames(),
            GiveReadableTensorNames(),
            InferDataTypes(),
            InferDataLayouts(),
        ):
            model = model.transform(transformation)
        return model

    def _shape(self, node: NodeProto) -> list[int]:
        """Of the node's output in the integer graph."""
        batch, channels, *length = self._qonnx.get_tensor_shape(node.output[0])
        return [batch, *length, 1, channels] if length else [batch, channels]

    def _add(self, op_type: str, inputs: list[str], shape: list[int], **attributes: object) -> str:
        output = f"t{len(self._nodes)}"
        self._tensors.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
        self._nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output

    def _add_constant(self, values: np.ndarray, datatype: BaseDataType | None) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = (values if datatype is None else values.astype(np.float32), datatype)
        return name


def read_attribute(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute's value; where the node has none, ONNX's default, which the caller knows."""
    attribute = get_by_name(node.attribute, name)
    return default if attribute is None else helper.get_attribute_value(attribute)


def _read_geometry(node: NodeProto, kernel_size: int = 1) -> tuple[int, int, tuple[int, int], int]:
    """Kernel size, where it is not given that of the weights, stride, padding on both sides and dilation, in 1D."""
    kernel, stride, padding, dilation = (
        read_attribute(node, name, default)
        for name, default in (
            ("kernel_shape", [kernel_size]),
            ("strides", [1]),
            ("pads", [0, 0]),
            ("dilations", [1]),
        )
    )
    return kernel[0], stride[0], (padding[0], padding[1]), dilation[0]


def _integer_type(bits: int, *, is_signed: bool) -> BaseDataType:
    return DataType[f"{'INT' if is_signed else 'UINT'}{bits}"]


def _weight_type(weight: Floats, bits: int) -> BaseDataType:
    """One bit more where the most negative integer was turned round."""
    return _integer_type(bits + int(weight.max() >= 2 ** (bits - 1)), is_signed=True)
