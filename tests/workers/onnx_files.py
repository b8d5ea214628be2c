"""Small ONNX files, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    FunctionProto,
    GraphProto,
    NodeProto,
    StringStringEntryProto,
    TensorAnnotation,
    TensorProto,
    helper,
    numpy_helper,
)

QONNX_DOMAIN = "qonnx.custom_op.general"

Shape = Sequence[int | str | None]


def weights(*shape: int, n_zeros: int = 0) -> NDArray[np.float32]:
    """Multiples of 0.1 that 4 bits hold, the first of them zeros."""
    values = np.resize(np.array([0.1, -0.2, 0.3, -0.1], np.float32), shape)
    values.reshape(-1)[:n_zeros] = 0
    return values


def quant(source: str, target: str, bits: str = "bits4", **attributes: int) -> NodeProto:
    """A quantizer of scale 0.1; `bits` names its bit width among the constants."""
    given = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
    return helper.make_node("Quant", [source, "scale", "zero", bits], [target], domain=QONNX_DOMAIN, **given)


CONSTANTS = {
    "scale": np.float32(0.1),
    "zero": np.float32(0),
    "bits4": np.float32(4),
    "bits8": np.float32(8),
}
"""What `quant` takes."""


def make_graph(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape | None],
    outputs: Mapping[str, Shape | None],
    constants: Mapping[str, Any],
    element_type: int = TensorProto.FLOAT,
) -> GraphProto:
    """`inputs` and `outputs` are shapes by tensor; None where the file tells none."""
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in {**CONSTANTS, **constants}.items()]
    return helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, element_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element_type, shape) for name, shape in outputs.items()],
        values,
    )


def write_graph(
    path: Path,
    graph: GraphProto,
    datatypes: Mapping[str, str] | None = None,
    functions: Sequence[FunctionProto] = (),
    opset: int = 17,
) -> Path:
    """`datatypes` are annotations by tensor."""
    for name, datatype in (datatypes or {}).items():
        entry = StringStringEntryProto(key="finn_datatype", value=datatype)
        graph.quantization_annotation.append(TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry]))
    domains = {QONNX_DOMAIN: 1, "local": 1, "com.microsoft": 1}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains.items())]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    model.ir_version = 9
    onnx.save(model, str(path))
    return path
