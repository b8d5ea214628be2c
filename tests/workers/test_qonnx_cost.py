"""The cost of QONNX files: one frame, whatever the file's batch; nothing that multiplies is free."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, InputQuantizer, Linear, MaxPool
from tests.workers.onnx_files import QONNX_DOMAIN, Shape, make_graph, quant, weights, write_graph
from workers.inference_cost import main, score_qonnx_file
from workers.model import build_model
from workers.qonnx_cost import QonnxFileError
from workers.qonnx_export import write_qonnx
from workers.qonnx_graph import COUNTED, FREE

CONV_BIT_OPS, CONV_WEIGHT_BITS = 8 * 2 * 3 * 16 * 4 * 8, 8 * 2 * 3 * 4
"""Of `conv_nodes`: 4-bit weights, 8-bit activations, 16 positions."""


def conv_nodes(target: str = "c", **attributes: Any) -> list[NodeProto]:
    """x (batch, 2, 16) at 8 bits to (batch, 8, 16), by weights w of 4 bits."""
    given = {"kernel_shape": [3], "pads": [1, 1], **attributes}
    given = {name: value for name, value in given.items() if value is not None}
    return [quant("x", "xq", "bits8"), quant("w", "wq"), helper.make_node("Conv", ["xq", "wq"], [target], "c", **given)]


def write_conv(
    path: Path, shape: Shape = (1, 2, 16), out: Shape = (1, 8, 16), w: Any = None, **attributes: Any
) -> Path:
    constants = {"w": weights(8, 2, 3) if w is None else w}
    return write_graph(path, make_graph(conv_nodes(**attributes), {"x": shape}, {"c": out}, constants))


def write_dense(path: Path, *before: NodeProto, x: str = "xq", constants: Any = None, **more: Any) -> Path:
    """x (1, 16) at 8 bits, through nodes to tensor `x`, then by 4-bit weights to 4 outputs: 2048 bit operations."""
    nodes = [quant("x", "xq", "bits8"), *before, quant("w", "wq"), helper.make_node("MatMul", [x, "wq"], ["y"], "m")]
    graph = make_graph(nodes, {"x": (1, 16)}, {"y": (1, 4)}, {"w": weights(16, 4), **(constants or {})})
    return write_graph(path, graph, **more)


def node(op_type: str, inputs: str, target: str, **attributes: Any) -> NodeProto:
    """Named n; `inputs` are separated by blanks."""
    return helper.make_node(op_type, inputs.split(), [target], "n", **attributes)


def figures(path: Path) -> tuple[float, float]:
    score = score_qonnx_file(path)
    return score["bit_ops"], score["weight_bits"]


def refusal(path: Path) -> str:
    with pytest.raises(QonnxFileError) as caught:
        score_qonnx_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be scored: ")
    assert "\n" not in message
    return message.removeprefix(f"{path} cannot be scored: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


# ---- one frame, whatever the batch


@pytest.mark.parametrize("batch", [1, 8, 64, "N", None, 0, -1])
@pytest.mark.parametrize("out", [1, 64, "N"], ids=lambda size: f"output of {size}")
def test_cost_is_that_of_one_frame(path: Path, batch: int | str | None, out: int | str) -> None:
    write_conv(path, (batch, 2, 16), (out, 8, 16))
    assert figures(path) == (CONV_BIT_OPS, CONV_WEIGHT_BITS)
    assert score_qonnx_file(path)["frame"] == {"x": [2, 16]}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with convolutions, pools and linear layers, as we export it."""
    blocks = (
        InputQuantizer(),
        Conv(out_channels=6, kernel_size=5, stride=4, weight_bit_width=5, activation_bit_width=6),
        MaxPool(kernel_size=4),
        Linear(out_features=16, weight_bit_width=5, activation_bit_width=6),
        Linear(out_features=24, weight_bit_width=4),
    )
    architecture = ArchitectureConfig(blocks=blocks)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    write_qonnx(build_model(architecture, seed=0), architecture, path)
    return path


def test_exported_network_with_an_open_batch_costs_the_same(exported: Path, path: Path) -> None:
    """Shapes of the tensors within stay those of the old batch, as an editor of ONNX files leaves them."""
    model = onnx.load(str(exported))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert len(model.graph.value_info) > 0
    onnx.save(model, str(path))
    score, before = score_qonnx_file(path), score_qonnx_file(exported)
    assert score["bit_ops"] > 0
    assert score == before


def test_exported_network_whose_batch_was_edited_in_its_input_alone_is_refused(exported: Path, path: Path) -> None:
    model = onnx.load(str(exported))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(model, str(path))
    assert refusal(path).endswith("(Reshape) makes 1 x 384 of 8 x 6 x 64; expected the batch of the inputs, 8")


def flatten_by_reshape(n: int) -> list[NodeProto]:
    return [*conv_nodes(), node("Reshape", "c to", "flat"), node("MatMul", "flat v", "y")]


@pytest.mark.parametrize(("batch", "n"), [(1, 1), ("N", 1), (64, 64), ("N", -1), (8, -1)])
def test_reshape_for_the_batch_is_counted(path: Path, batch: int | str, n: int) -> None:
    constants = {"w": weights(8, 2, 3), "to": np.array([n, 128]), "v": weights(128, 4)}
    write_graph(path, make_graph(flatten_by_reshape(n), {"x": (batch, 2, 16)}, {"y": (batch, 4)}, constants))
    assert figures(path) == (CONV_BIT_OPS + 512 * 32 * 32, CONV_WEIGHT_BITS + 512 * 32)


def test_reshape_for_another_batch_is_refused(path: Path) -> None:
    constants = {"w": weights(8, 2, 3), "to": np.array([64, 128]), "v": weights(128, 4)}
    write_graph(path, make_graph(flatten_by_reshape(64), {"x": ("N", 2, 16)}, {"y": (64, 4)}, constants))
    assert refusal(path) == "n (Reshape) makes 64 x 128 of 1 x 8 x 16; expected the batch of the inputs, 1"


def test_batch_read_off_the_input_is_computed(path: Path) -> None:
    """As torch exports `x.view(x.size(0), -1)` with a batch that varies."""
    nodes = [
        *conv_nodes(),
        node("Shape", "c", "shape"),
        node("Gather", "shape first", "n"),
        node("Concat", "n rest", "to", axis=0),
        *flatten_by_reshape(0)[-2:],
    ]
    constants = {"w": weights(8, 2, 3), "v": weights(128, 4), "first": np.array([0]), "rest": np.array([-1])}
    write_graph(path, make_graph(nodes, {"x": ("N", 2, 16)}, {"y": ("N", 4)}, constants))
    assert figures(path) == (CONV_BIT_OPS + 512 * 32 * 32, CONV_WEIGHT_BITS + 512 * 32)


def test_frames_along_axis_0_are_not_taken_for_a_batch(path: Path) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0]),
        node("MatMul", "t v", "p"),
        node("ReduceMean", "p", "y", axes=[0]),
    ]
    write_graph(path, make_graph(nodes, {"x": (64, 2)}, {"y": (1, 4)}, {"v": weights(64, 4)}))
    assert refusal(path) == "axis 0 of the inputs is 64, output y is 1 x 4; expected the batch as axis 0 of both"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": (1, 2, "L")}, "axis 2 of input x is L; expected a number: only the batch, axis 0, may vary"),
        ({"x": (1, None, 16)}, "axis 1 of input x is open; expected a number"),
        ({"x": ("N", 2, -1)}, "axis 2 of input x is -1; expected a number"),
        ({"x": None}, "input x has no shape; expected batch and frame, such as 1 x 2 x 1024"),
        ({"x": ()}, "input x has no shape; expected"),
        ({"x": (1, 2, 16), "z": (8, 2, 16)}, "axis 0 of the inputs is {'x': 1, 'z': 8}; expected one batch for all"),
        ({}, "axis 0 of the inputs is missing; expected one batch for all"),
    ],
)
def test_input_that_is_no_frame_is_refused(path: Path, inputs: Any, message: str) -> None:
    write_graph(path, make_graph(conv_nodes(), inputs, {"c": (1, 8, 16)}, {"w": weights(8, 2, 3)}))
    assert refusal(path).startswith(message)


@pytest.mark.parametrize("batch", [1, 8, "N"])
def test_two_inputs_are_one_frame(path: Path, batch: int | str) -> None:
    nodes = [node("Concat", "i q", "x", axis=1), *conv_nodes()]
    inputs = {"i": (batch, 1, 16), "q": (batch, 1, 16)}
    write_graph(path, make_graph(nodes, inputs, {"c": (batch, 8, 16)}, {"w": weights(8, 2, 3)}))
    assert figures(path) == (CONV_BIT_OPS, CONV_WEIGHT_BITS)


def test_weights_that_are_listed_as_inputs_are_constants(path: Path) -> None:
    """As files before ONNX's version 4 have it."""
    graph = make_graph(conv_nodes(), {"x": ("N", 2, 16), "w": (8, 2, 3)}, {"c": ("N", 8, 16)}, {"w": weights(8, 2, 3)})
    write_graph(path, graph)
    assert figures(path) == (CONV_BIT_OPS, CONV_WEIGHT_BITS)
    assert score_qonnx_file(path)["frame"] == {"x": [2, 16]}


# ---- each layer


@pytest.mark.parametrize(
    ("attributes", "w_shape", "macs"),
    [
        ({"kernel_shape": None}, (8, 2, 3), 48 * 16),
        ({"kernel_shape": None, "group": 2}, (8, 1, 3), 24 * 16),
        ({"strides": [2]}, (8, 2, 3), 48 * 8),
        ({"dilations": [4], "pads": [4, 4]}, (8, 2, 3), 48 * 16),
        ({"pads": None}, (8, 2, 3), 48 * 14),
        ({"pads": None, "auto_pad": "SAME_UPPER", "strides": [4]}, (8, 2, 3), 48 * 4),
    ],
    ids=["no kernel_shape", "grouped", "stride", "dilation", "no padding", "auto_pad"],
)
def test_convolutions_of_all_kinds_are_counted(
    path: Path, attributes: dict[str, Any], w_shape: tuple[int, ...], macs: int
) -> None:
    write_conv(path, out=(1, 8, macs // (3 * w_shape[0] * w_shape[1])), w=weights(*w_shape), **attributes)
    assert figures(path) == (macs * 32, math.prod(w_shape) * 4)


def test_convolution_in_two_dimensions_is_counted(path: Path) -> None:
    nodes = [node("Unsqueeze", "x axis", "x4"), node("Conv", "x4 v", "c", pads=[0, 1, 0, 1])]
    constants = {"axis": np.array([2]), "v": weights(8, 2, 1, 3)}
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, {"c": (1, 8, 1, 16)}, constants))
    assert figures(path) == (48 * 16 * 32 * 32, 48 * 32)


def test_convolution_of_other_channels_than_it_has_weights_for_is_refused(path: Path) -> None:
    write_conv(path, shape=(1, 4, 16))
    assert refusal(path) == "c (Conv) takes 4 channels; expected 2, for which it has weights"


def test_zero_weights_are_discounted(path: Path) -> None:
    write_conv(path, w=weights(8, 2, 3, n_zeros=12))
    assert figures(path) == (CONV_BIT_OPS * 0.75, CONV_WEIGHT_BITS * 0.75)


def test_weights_that_two_layers_share_are_counted_in_each(path: Path) -> None:
    nodes = [*conv_nodes(), node("Conv", "xq wq", "d", pads=[1, 1]), node("Add", "c d", "y")]
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, {"y": (1, 8, 16)}, {"w": weights(8, 2, 3)}))
    assert figures(path) == (2 * CONV_BIT_OPS, 2 * CONV_WEIGHT_BITS)
    assert [layer["name"] for layer in score_qonnx_file(path)["layers"]] == ["Conv_0", "Conv_1"]


@pytest.mark.parametrize(
    ("op", "x_shape", "w_shape", "attributes"),
    [
        ("MatMul", (1, 16), (16, 4), {}),
        ("MatMul", (1, 1, 16), (16, 4), {}),
        ("MatMul", (1, 16), (1, 16, 4), {}),
        ("Gemm", (1, 16), (16, 4), {}),
        ("Gemm", (1, 16), (4, 16), {"transB": 1}),
    ],
)
def test_fully_connected_layers_of_all_kinds_are_counted(
    path: Path, op: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], attributes: dict[str, int]
) -> None:
    nodes = [quant("x", "xq", "bits8"), quant("w", "wq"), node(op, "xq wq", "y", **attributes)]
    write_graph(path, make_graph(nodes, {"x": x_shape}, {"y": None}, {"w": weights(*w_shape)}))
    assert figures(path) == (64 * 8 * 4, 64 * 4)


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_weights_on_the_left_have_their_own_bit_width(path: Path, op: str) -> None:
    """qonnx takes that of the activations."""
    nodes = [quant("x", "xq", "bits8"), quant("w", "wq"), node("Transpose", "xq", "xt"), node(op, "wq xt", "y")]
    write_graph(path, make_graph(nodes, {"x": (1, 16)}, {"y": (4, 1)}, {"w": weights(4, 16)}))
    assert figures(path) == (64 * 8 * 4, 64 * 4)


def test_transposed_weights_on_the_left_are_counted(path: Path) -> None:
    nodes = [node("Transpose", "x", "xt"), node("Gemm", "w xt", "y", transA=1)]
    write_graph(path, make_graph(nodes, {"x": (1, 16)}, {"y": (4, 1)}, {"w": weights(16, 4)}))
    assert figures(path) == (64 * 32 * 32, 64 * 32)


@pytest.mark.parametrize("batch", [1, 8, "N"])
def test_product_of_activations_has_products_and_no_weights(path: Path, batch: int | str) -> None:
    nodes = [quant("x", "xq", "bits8"), node("Transpose", "xq", "t", perm=[0, 2, 1]), node("MatMul", "xq t", "y")]
    write_graph(path, make_graph(nodes, {"x": (batch, 2, 16)}, {"y": (batch, 2, 2)}, {}))
    assert figures(path) == (2 * 2 * 16 * 8 * 8, 0)


# ---- bit widths


@pytest.mark.parametrize("datatype", ["SCALEDINT<4>", "SCALEDINT4", "SCALEDUINT4", "SCALEDUINT<4>", "INT4", "UINT4"])
def test_datatypes_of_all_spellings_are_read(path: Path, datatype: str) -> None:
    """The challenge's own tool of 2021 leaves weights as constants, with their datatype as an annotation."""
    nodes = [quant("x", "xq", "bits8"), node("MatMul", "xq v", "y")]
    graph = make_graph(nodes, {"x": (1, 16)}, {"y": (1, 4)}, {"v": weights(16, 4)})
    write_graph(path, graph, {"v": datatype})
    assert figures(path) == (2048, 256)


@pytest.mark.parametrize("datatype", ["INTX", "INT0", "INT-4", "SCALEDINT<0>", "FOUR", "SCALEDINT", ""])
def test_unknown_datatype_is_refused(path: Path, datatype: str) -> None:
    graph = make_graph([node("MatMul", "x v", "y")], {"x": (1, 16)}, {"y": (1, 4)}, {"v": weights(16, 4)})
    write_graph(path, graph, {"v": datatype})
    assert refusal(path).startswith(f"datatype of v is {datatype}; expected one of at least 1 bit, such as INT4")


def test_bit_width_of_a_constant_node_is_read(path: Path) -> None:
    """qonnx computes weights before such nodes, and then takes them for float."""
    bits = helper.make_node("Constant", [], ["bits"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [4.0]))
    nodes = [bits, quant("x", "xq", "bits8"), quant("w", "wq", "bits"), node("MatMul", "xq wq", "y")]
    write_graph(path, make_graph(nodes, {"x": (1, 16)}, {"y": (1, 4)}, {"w": weights(16, 4)}))
    assert figures(path) == (2048, 256)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"bits4": np.float32(0)}, "bit width of wq (Quant) is [0.0]; expected one of 1 to 32"),
        ({"bits4": np.float32(-4)}, "bit width of wq (Quant) is [-4.0]; expected one"),
        ({"bits4": np.float32(2.5)}, "bit width of wq (Quant) is [2.5]; expected one"),
        ({"bits4": np.float32(np.nan)}, "bit width of wq (Quant) is [nan]; expected one"),
        (
            {"bits4": np.array([4, 8, 4, 8], np.float32)},
            "bit width of wq (Quant) is [4.0, 8.0, 4.0, 8.0]; expected one",
        ),
        ({"zero": np.float32(3)}, "zero point of xq (Quant) is 3; expected 0"),
    ],
)
def test_quantizer_without_one_bit_width_is_refused(path: Path, constants: dict[str, Any], message: str) -> None:
    assert refusal(write_dense(path, constants=constants)).startswith(message)


def test_quantizer_that_computes_its_scale_is_refused(path: Path) -> None:
    dynamic = helper.make_node("Quant", ["w", "s", "zero", "bits4"], ["u"], domain=QONNX_DOMAIN)
    nodes = [node("ReduceMean", "x", "s", keepdims=0), dynamic, node("MatMul", "x u", "y")]
    write_graph(path, make_graph(nodes, {"x": (1, 16)}, {"y": (1, 4)}, {"w": weights(16, 4)}))
    assert refusal(path) == "u (Quant) computes its scale or bit width; expected constants"


@pytest.mark.parametrize("op", ["BipolarQuant", "FloatQuant", "MultiThreshold"])
def test_quantizers_whose_bits_are_unknown_are_named_also_on_weights(path: Path, op: str) -> None:
    odd = helper.make_node(op, ["v", "scale"], ["u"], "odd", domain=QONNX_DOMAIN)
    write_dense(path, odd, node("MatMul", "xq u", "z"), constants={"v": weights(16, 4)})
    assert refusal(path).startswith(f"odd ({op}) of {QONNX_DOMAIN} is unknown; expected Conv, Gemm, MatMul")


def test_tensors_of_several_bit_widths_are_not_joined(path: Path) -> None:
    """qonnx takes the bit width of the first."""
    nodes = [quant("x", "x8", "bits8"), quant("x", "x4"), node("Concat", "x4 x8", "j", axis=1)]
    nodes += [node("MatMul", "j v", "y")]
    write_graph(path, make_graph(nodes, {"x": (1, 16)}, {"y": (1, 4)}, {"v": weights(32, 4)}))
    assert refusal(path) == "n (Concat) joins SCALEDINT<4>, SCALEDINT<8>; expected equal bit widths"


@pytest.mark.parametrize(
    "passing",
    [
        node("ReduceMax", "xq", "p", axes=[0]),
        node("Split", "xq sizes", "p", axis=0),
        node("Dropout", "xq", "p"),
        node("Cast", "xq", "p", to=TensorProto.FLOAT),
    ],
    ids=lambda passing: passing.op_type,
)
def test_bit_width_passes_with_what_is_moved(path: Path, passing: NodeProto) -> None:
    """By qonnx it would be 32: the pool over all positions of torch's newer exporter is a ReduceMax."""
    write_dense(path, passing, node("Identity", "p", "i"), x="i", constants={"sizes": np.array([1])})
    assert figures(path) == (2048, 256)


def quantize_linear(*between: NodeProto, codes: str = "codes") -> list[NodeProto]:
    ends = [node("QuantizeLinear", "x scale z8", "codes"), node("DequantizeLinear", f"{codes} scale z8", "d")]
    return [ends[0], *between, ends[1]]


def test_codes_of_8_bits_in_standard_operators_are_counted(path: Path) -> None:
    write_dense(path, *quantize_linear(), x="d", constants={"z8": np.int8(0)})
    assert figures(path) == (2048, 256)


def test_codes_that_are_narrowed_in_standard_operators_are_refused(path: Path) -> None:
    clip = node("Clip", "codes low high", "narrow")
    constants = {"z8": np.int8(0), "low": np.int8(-8), "high": np.int8(7)}
    write_dense(path, *quantize_linear(clip, codes="narrow"), x="d", constants=constants)
    assert refusal(path) == "n (Clip) narrows codes of 8 bits; expected Quant, which has a bit width"


@pytest.mark.parametrize(
    ("dtype", "element_type", "name"),
    [
        ("f2", TensorProto.FLOAT16, "FLOAT16"),
        ("f8", TensorProto.DOUBLE, "DOUBLE"),
        ("i4", TensorProto.INT32, "INT32"),
    ],
)
def test_layer_of_another_type_than_float_is_refused(path: Path, dtype: str, element_type: int, name: str) -> None:
    constants = {"v": weights(16, 4).astype(dtype)}
    write_graph(path, make_graph([node("MatMul", "x v", "y")], {"x": (1, 16)}, {"y": (1, 4)}, constants, element_type))
    assert refusal(path) == f"n (MatMul) takes x of type {name}; expected FLOAT"


# ---- what is not counted is named


def recurrent(op: str, gates: int) -> tuple[NodeProto, dict[str, Any]]:
    constants = {"iw": weights(1, gates * 8, 2), "rw": weights(1, gates * 8, 8)}
    return helper.make_node(op, ["t", "iw", "rw"], ["", "h"], "n", hidden_size=8), constants


UNCOUNTED: dict[str, tuple[NodeProto, dict[str, Any]]] = {
    "LSTM": recurrent("LSTM", 4),
    "GRU": recurrent("GRU", 3),
    "RNN": recurrent("RNN", 1),
    "ConvTranspose": (node("ConvTranspose", "x v", "h", pads=[1, 1]), {"v": weights(2, 4, 3)}),
    "ConvInteger": (node("ConvInteger", "codes v", "h", pads=[1, 1]), {"v": np.ones((4, 2, 3), np.int8)}),
    "MatMulInteger": (node("MatMulInteger", "codes v", "h"), {"v": np.ones((16, 4), np.int8)}),
    "QLinearConv": (
        node("QLinearConv", "codes scale z8 v scale z8 scale z8", "h", pads=[1, 1]),
        {"v": np.ones((4, 2, 3), np.int8)},
    ),
    "QLinearMatMul": (
        node("QLinearMatMul", "codes scale z8 v scale z8 scale z8", "h"),
        {"v": np.ones((16, 4), np.int8)},
    ),
    "Einsum": (node("Einsum", "x v", "h", equation="bcl,lo->bco"), {"v": weights(16, 4)}),
    "Pow": (node("Pow", "x scale", "h"), {}),
    "Resize": (helper.make_node("Resize", ["x", "", "up"], ["h"], "n", mode="linear"), {"up": np.ones(3, np.float32)}),
    "LpPool": (node("LpPool", "x", "h", kernel_shape=[2]), {}),
    "LRN": (node("LRN", "x", "h", size=1), {}),
    "InstanceNormalization": (node("InstanceNormalization", "x v v", "h"), {"v": weights(2)}),
    "NoSuchOperator": (node("NoSuchOperator", "x", "h"), {}),
}


@pytest.mark.parametrize("op", UNCOUNTED)
def test_operator_that_is_not_counted_is_named(path: Path, op: str) -> None:
    layer, constants = UNCOUNTED[op]
    before = [node("QuantizeLinear", "x scale z8", "codes"), node("Transpose", "x", "t", perm=[2, 0, 1])]
    nodes = [*before, layer, *conv_nodes()]
    constants = {"w": weights(8, 2, 3), "z8": np.int8(0), **constants}
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, {"c": (1, 8, 16), "h": None}, constants))
    assert refusal(path).startswith(f"n ({op}) has no known cost; expected Conv, Gemm, MatMul, which are counted, and")


def test_no_operator_of_onnx_that_multiplies_is_free() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert names >= (FREE | set(COUNTED)) - {"Quant", "IntQuant", "Trunc"}
    products = (
        "Conv",
        "MatMul",
        "Gemm",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
        "Normalization",
        "FT",
        "Pow",
        "Det",
    )
    multiplying = {name for name in names if any(word in name for word in products)}
    assert len(multiplying) > 20
    assert multiplying & FREE == {"BatchNormalization"}


def test_all_operators_that_are_not_counted_are_named_in_one_line(path: Path) -> None:
    nodes = [node("Pow", "x scale", "p"), helper.make_node("Det", ["p"], ["h"], "second"), *conv_nodes()]
    outputs: dict[str, Shape | None] = {"c": None, "h": None}
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, outputs, {"w": weights(8, 2, 3)}))
    message = refusal(path)
    assert message.startswith("n (Pow) has no known cost; second (Det) has no known cost; expected Conv, Gemm, MatMul")


@pytest.mark.parametrize("domain", ["com.microsoft", "local", "com.acme"])
def test_operator_of_an_unknown_domain_is_named_also_on_weights(path: Path, domain: str) -> None:
    write_dense(path, helper.make_node("Relu", ["w"], ["u"], "odd", domain=domain))
    assert refusal(path).startswith(
        f"odd (Relu) of {domain} is unknown; expected Conv, Gemm, MatMul, which are counted"
    )


def test_graph_within_a_node_is_refused(path: Path) -> None:
    branch = make_graph([node("MatMul", "xq w", "b")], {}, {"b": (1, 4)}, {"w": weights(16, 4)})
    choice = node("If", "yes", "h", then_branch=branch, else_branch=branch)
    write_dense(path, choice, constants={"yes": np.bool_(True)})
    assert refusal(path).startswith("n (If) holds a graph of its own; expected one graph of Conv, Gemm, MatMul")


def function_of(*nodes: NodeProto) -> onnx.FunctionProto:
    return helper.make_function("local", "Block", ["a", "b"], ["r"], nodes, [helper.make_opsetid("", 17)])


def test_layer_within_a_function_is_counted(path: Path) -> None:
    call = helper.make_node("Block", ["xq", "v"], ["f"], "call", domain="local")
    write_dense(path, call, constants={"v": weights(16, 8)}, functions=[function_of(node("MatMul", "a b", "r"))])
    assert figures(path) == (2048 + 128 * 8 * 32, 256 + 128 * 32)


def test_operator_within_a_function_is_named(path: Path) -> None:
    call = helper.make_node("Block", ["xq", "v"], ["f"], "call", domain="local")
    inner = node("Einsum", "a b", "r", equation="bi,io->bo")
    write_dense(path, call, constants={"v": weights(16, 8)}, functions=[function_of(inner)])
    assert "(Einsum) has no known cost" in refusal(path)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (node("Mul", "xq xq", "h"), "n (Mul) multiplies activations by one another"),
        (node("Div", "xq xq", "h"), "n (Div) multiplies activations by one another"),
        (node("PRelu", "xq xq", "h"), "n (PRelu) multiplies activations by one another"),
        (node("Mul", "xq v", "h"), "n (Mul) takes weights, 3 x 16 of v"),
        (node("Div", "v xq", "h"), "n (Div) takes weights, 3 x 16 of v"),
        (node("PRelu", "xq v", "h"), "n (PRelu) takes weights, 3 x 16 of v"),
        (node("Max", "xq v", "h"), "n (Max) takes weights, 3 x 16 of v"),
        (node("Gather", "v places", "h"), "n (Gather) takes weights, 3 x 16 of v"),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else "",
)
def test_products_outside_of_layers_are_named(path: Path, layer: NodeProto, message: str) -> None:
    before = [node("ArgMax", "xq", "places")] if layer.op_type == "Gather" else []
    assert refusal(write_dense(path, *before, layer, constants={"v": weights(3, 16)})).startswith(
        f"{message}; expected"
    )


def test_scales_and_biases_are_free(path: Path) -> None:
    nodes = [
        *conv_nodes("c0"),
        node("BatchNormalization", "c0 s s s s", "c1"),
        node("Mul", "c1 row", "c2"),
        node("Div", "c2 scale", "c3"),
        node("Add", "c3 places", "c4"),
        node("PRelu", "c4 row", "c"),
    ]
    constants = {"w": weights(8, 2, 3), "s": np.ones(8, "f4"), "row": np.ones((8, 1), "f4"), "places": weights(8, 16)}
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, {"c": (1, 8, 16)}, constants))
    assert figures(path) == (CONV_BIT_OPS, CONV_WEIGHT_BITS)


def test_convolution_by_computed_weights_is_refused(path: Path) -> None:
    nodes = [node("Slice", "x first last axes", "v"), node("Conv", "x v", "c", pads=[1, 1])]
    constants = {"first": np.array([0]), "last": np.array([3]), "axes": np.array([2])}
    write_graph(path, make_graph(nodes, {"x": (1, 2, 16)}, {"c": (1, 1, 16)}, constants))
    assert refusal(path) == "n (Conv) computes its weights; expected constants"


def test_tensor_that_nothing_gives_is_refused(path: Path) -> None:
    write_graph(path, make_graph([node("MatMul", "x v", "y")], {"x": (1, 16)}, {"y": (1, 4)}, {}))
    assert refusal(path).startswith("shape of v at n (MatMul) is unknown; expected one that the input's tells")


def test_sparse_weights_are_refused(path: Path) -> None:
    graph = make_graph([node("MatMul", "x v", "y")], {"x": (1, 16)}, {"y": (1, 4)}, {})
    values = helper.make_tensor("v", TensorProto.FLOAT, [2], [0.1, 0.2])
    places = helper.make_tensor("p", TensorProto.INT64, [2], [3, 7])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [16, 4]))
    assert refusal(write_graph(path, graph)) == "v is sparse; expected dense weights"


def test_graph_without_a_layer_is_refused(path: Path) -> None:
    write_graph(path, make_graph([node("Relu", "x", "y")], {"x": (1, 16)}, {"y": (1, 16)}, {}))
    with pytest.raises(QonnxFileError, match=r"has no Conv, Gemm, MatMul node; expected a network"):
        score_qonnx_file(path)


def test_command_tells_the_frame_that_it_counts(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_conv(path, (64, 2, 16), (64, 8, 16)))]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "one frame: x 2 x 16"


def test_command_names_what_is_not_countable_in_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dense(path, node("Mul", "xq xq", "h"))
    assert main([str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "n (Mul) multiplies activations by one another" in err
