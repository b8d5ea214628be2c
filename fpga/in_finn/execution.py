"""A graph run on many frames, node by node.

The nodes compute what `qonnx.core.onnx_exec.execute_onnx` makes them compute. It sets up each node anew for each frame
and checks that integers are integers, which takes most of its time; here each node is set up once, and those that its
own functions take longest for are computed faster (fast_nodes.py).

A graph of floats can be run in double precision: in single precision a sum that lies at a threshold falls now to the
one side and now to the other, depending on the order of the additions, which changed scores of 6 out of 200 frames.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from onnx import NodeProto, TensorProto, ValueInfoProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.intquant import int_quant
from qonnx.custom_op.registry import getCustomOp, is_custom_op
from qonnx.util.basic import get_by_name

from .fast_nodes import FAST_NODES, RunNode, Tensors


class GraphRunner:
    """One graph, ready to run on any number of inputs."""

    def __init__(self, model: ModelWrapper, *, is_double: bool = False) -> None:
        """Nodes that depend on no input, such as quantizers of weights, are run now."""
        self._model, self._is_double = model, is_double
        self.constants: Tensors = {  # by name, known without any input
            tensor.name: self._widen(model.get_initializer(tensor.name)) for tensor in model.graph.initializer
        }
        self.constants[""] = np.empty(0)
        self._runs: list[RunNode] = []
        for node in model.graph.node:
            run = self._prepare(node)
            if all(name in self.constants for name in node.input):
                run(self.constants)
            else:
                self._runs.append(run)

    def run(self, inputs: np.ndarray) -> Tensors:
        """All tensors of the graph by name, for one input in the shape and the integers of the graph's input."""
        tensors = self.constants | {self._model.graph.input[0].name: self._widen(inputs)}
        for run in self._runs:
            run(tensors)
        return tensors

    def _widen(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64) if self._is_double and values.dtype == np.float32 else values

    def _prepare(self, node: NodeProto) -> RunNode:
        if self._is_double and node.op_type in DOUBLE_NODES:
            return DOUBLE_NODES[node.op_type](node)
        if node.op_type in FAST_NODES:
            return FAST_NODES[node.op_type](getCustomOp(node))
        if is_custom_op(node.domain, node.op_type):
            return self._prepare_custom(node)
        session = self._open_session(node)

        def run(tensors: Tensors) -> None:
            outputs = session.run(None, {name: tensors[name] for name in node.input if name})
            tensors.update(zip(node.output, outputs, strict=True))

        return run

    def _prepare_custom(self, node: NodeProto) -> RunNode:
        layer, graph = getCustomOp(node), self._model.graph
        shapes = {name: self._model.get_tensor_shape(name) for name in node.output}

        def run(tensors: Tensors) -> None:
            tensors.update({name: np.empty(shape, np.float32) for name, shape in shapes.items()})
            layer.execute_node(tensors, graph)

        return run

    def _open_session(self, node: NodeProto) -> onnxruntime.InferenceSession:
        """onnxruntime runs whole models only, so the node becomes one."""
        inputs, outputs = (
            [self._describe(name) for name in dict.fromkeys(names) if name] for names in (node.input, node.output)
        )
        alone = helper.make_model(
            helper.make_graph([node], node.name, inputs, outputs),
            opset_imports=[helper.make_opsetid("", self._model.get_opset_imports()[""])],
            ir_version=self._model.model.ir_version,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _describe(self, name: str) -> ValueInfoProto:
        given = self._model.get_tensor_valueinfo(name)
        if not self._is_double or given.type.tensor_type.elem_type != TensorProto.FLOAT:
            return given
        return helper.make_tensor_value_info(name, TensorProto.DOUBLE, self._model.get_tensor_shape(name))


def _prepare_double_quantizer(node: NodeProto) -> RunNode:
    """QONNX's own function, whose node rounds the result to single precision."""
    layer = getCustomOp(node)
    signed, narrow, rounding = (layer.get_nodeattr(name) for name in ("signed", "narrow", "rounding_mode"))

    def run(tensors: Tensors) -> None:
        tensors[node.output[0]] = int_quant(*(tensors[name] for name in node.input), signed, narrow, rounding)

    return run


def _prepare_double_convolution(node: NodeProto) -> RunNode:
    """Of one dimension, without bias, as the networks have it; onnxruntime has none in double precision."""
    stride, padding, dilation = (
        list(get_by_name(node.attribute, name).ints) for name in ("strides", "pads", "dilations")
    )
    groups = get_by_name(node.attribute, "group").i
    if len(stride) != 1 or len(node.input) != 2:
        raise ValueError(f"{node.name} has strides {stride}, {len(node.input)} inputs; expected one dimension, no bias")

    def run(tensors: Tensors) -> None:
        x, weight = (torch.from_numpy(np.ascontiguousarray(tensors[name])) for name in node.input)
        padded = torch.nn.functional.pad(x, padding)
        y = torch.nn.functional.conv1d(padded, weight, None, stride[0], 0, dilation[0], groups)
        tensors[node.output[0]] = y.numpy()  # (batch, out_channels, out_length)

    return run


DOUBLE_NODES = {"Quant": _prepare_double_quantizer, "Conv": _prepare_double_convolution}
