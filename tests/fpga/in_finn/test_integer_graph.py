"""The integer graph of networks that training seldom makes, and of files that our export does not make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from torch import nn

from fpga.finn_build import FinnOutput, UnbuildableNetworkError
from fpga.toolchain.finn import Finn
from fpga.verification import GRAPHS, verify_outputs
from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, GlobalPool, InputQuantizer, InvertedResidual, Parallel
from storage.dataset.frames import Frames
from storage.records import BuildLevel
from tests.fpga.exported_networks import build_exported, conv, dsc, linear
from workers.architecture_export import export_architecture
from workers.checkpoint import write_weights
from workers.model import QuantizedNetwork, build_model
from workers.qonnx_export import export_evaluation
from workers.training import Phase, train

N_FRAMES = 60


BLOCKS = (
    InputQuantizer(),
    conv(8, stride=2, bits=8),
    dsc(5, 1, 8, 8, 8),
    GlobalPool(),
    linear(16, 8, 8),
    linear(24, 8),
)

ARCHITECTURE = ArchitectureConfig(blocks=BLOCKS, frame_length=64)


@pytest.mark.slow
def test_channels_of_negative_and_zero_gain_give_the_networks_scores(finn: Finn, tmp_path: Path) -> None:
    model, frames = train_network()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight[::3] *= -1
            norm.weight[1] = 0
            norm.bias[1] = 0.4
            norm.bias[::3] += 0.5

    output = build(finn, model, frames, tmp_path)

    verification = verify_outputs(tmp_path / "proof.npz", output.recorded_outputs)
    assert [agreement.n_scores_equal for agreement in verification.agreements] == [N_FRAMES] * len(GRAPHS)
    assert len(norms) == 4
    assert len(np.unique(np.load(output.recorded_outputs)["folded_scores"], axis=0)) > N_FRAMES // 2


@pytest.mark.slow
def test_layer_of_zeros_is_refused_for_its_sums_would_have_no_bits(finn: Finn, tmp_path: Path) -> None:
    model, frames = train_network()
    layer = next(module for module in model.modules() if isinstance(module, nn.Conv1d) and module.groups > 1)
    with torch.no_grad():
        layer.weight.zero_()

    with pytest.raises(
        UnbuildableNetworkError, match=r"Conv_1 has weights that are all zero; expected one that is not"
    ):
        build(finn, model, frames, tmp_path)


@pytest.fixture
def integer_graph() -> ModuleType:
    """QONNX, all that it takes, is in our environment, too."""
    from fpga.in_finn import integer_graph

    return integer_graph


@pytest.fixture
def residual_network(tmp_path: Path) -> onnx.ModelProto:
    block = InvertedResidual(
        out_channels=4, kernel_size=3, expansion=2, weight_bit_width=4, activation_bit_width=4, residual=True
    )
    blocks = (InputQuantizer(), conv(4, stride=2), block, GlobalPool(), linear(24, 4))
    export_architecture(ArchitectureConfig(blocks=blocks, frame_length=32), tmp_path / "model.onnx")
    return onnx.load(tmp_path / "model.onnx")


def test_weights_are_rounded_as_the_file_says(integer_graph: ModuleType, residual_network: onnx.ModelProto) -> None:
    producers = {node.output[0]: node for node in residual_network.graph.node}
    (last,) = (node for node in residual_network.graph.node if node.op_type in ("Gemm", "MatMul"))
    quantizer = producers[last.input[1]]
    before = read_weights(integer_graph, residual_network)

    (rounding,) = (attribute for attribute in quantizer.attribute if attribute.name == "rounding_mode")
    rounding.s = b"FLOOR"

    difference = before[-1] - read_weights(integer_graph, residual_network)[-1]
    assert set(np.unique(difference)) == {0, 1}


def add_norm_behind_sum(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    (sum_node,) = (node for node in nodes if node.op_type == "Add")
    old = next(node for node in nodes if node.op_type == "BatchNormalization" and channels_of(model, node) == 4)
    norm = helper.make_node("BatchNormalization", [sum_node.output[0], *old.input[1:]], ["normed"], "late_norm")
    norm.attribute.extend(old.attribute)
    for node in nodes:
        node.input[:] = ["normed" if name == sum_node.output[0] else name for name in node.input]
    nodes.insert(list(nodes).index(sum_node) + 1, norm)


def add_bias(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Conv").input.append("bias")


def add_sigmoid(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes.append(helper.make_node("Sigmoid", [nodes[-1].output[0]], ["last"], "late_sigmoid"))


def put_relu_before_norm(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    norm = next(node for node in nodes if node.op_type == "BatchNormalization")
    relu = helper.make_node("Relu", [norm.input[0]], ["rectified"], "early_relu")
    norm.input[0] = "rectified"
    nodes.insert(list(nodes).index(norm), relu)


def pad_by_name(model: onnx.ModelProto) -> None:
    set_attribute(first_node(model, "Conv"), "auto_pad", "SAME_UPPER")


def halve(model: onnx.ModelProto) -> None:
    set_attribute(first_node(model, "Gemm"), "alpha", 0.5)


def widen_pool(model: onnx.ModelProto) -> None:
    set_attribute(first_node(model, "MaxPool"), "dilations", [2])


def forget_narrow(model: onnx.ModelProto) -> None:
    quantizer = first_node(model, "Quant")
    quantizer.attribute.remove(next(attribute for attribute in quantizer.attribute if attribute.name == "narrow"))


def take_all_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_norm_behind_sum, "late_norm is behind a sum of branches; expected a layer with weights"),
        (add_bias, "has a bias; expected none"),
        (put_relu_before_norm, "is behind a ReLU or another batch norm; expected a layer's sums"),
        (pad_by_name, "Conv_0 has auto_pad b'SAME_UPPER'; expected b'NOTSET'"),
        (widen_pool, r"has dilations \[2\]; expected \[1\]"),
        (forget_narrow, "has no narrow; expected it, as QONNX does"),
        (halve, "has alpha 0.5; expected 1.0"),
        (add_sigmoid, "late_sigmoid is a Sigmoid; expected one of Add, "),
        (take_all_nodes, "the network's output is no fully connected layer's; expected one of one scale"),
    ],
)
def test_file_that_has_no_integer_form_is_refused_by_its_layer(
    integer_graph: ModuleType,
    residual_network: onnx.ModelProto,
    change: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    change(residual_network)
    with pytest.raises(integer_graph.UnsupportedLayerError, match=message):
        integer_graph.make_integer_network(ModelWrapper(residual_network))


def test_attributes_that_are_not_there_have_the_defaults_of_onnx(
    integer_graph: ModuleType, residual_network: onnx.ModelProto
) -> None:
    before = integer_graph.make_integer_network(ModelWrapper(residual_network)).model.model.SerializeToString()
    defaults = {"group": 1, "kernel_shape": None, "strides": [1], "pads": [0, 0], "dilations": [1]}
    n_taken = 0
    for node in residual_network.graph.node:
        for attribute in list(node.attribute):
            name, value = attribute.name, helper.get_attribute_value(attribute)
            if name in defaults and (defaults[name] is None or value == defaults[name]) and node.op_type != "MaxPool":
                node.attribute.remove(attribute)
                n_taken += 1

    after = integer_graph.make_integer_network(ModelWrapper(residual_network)).model.model.SerializeToString()

    assert after == before
    assert n_taken > 5


def first_node(model: onnx.ModelProto, op_type: str) -> NodeProto:
    return next(node for node in model.graph.node if node.op_type == op_type)


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    for attribute in [attribute for attribute in node.attribute if attribute.name == name]:
        node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, value))


def channels_of(model: onnx.ModelProto, norm: NodeProto) -> int:
    (gain,) = (tensor for tensor in model.graph.initializer if tensor.name == norm.input[1])
    return int(gain.dims[0])


def read_weights(integer_graph: ModuleType, qonnx: onnx.ModelProto) -> list[np.ndarray]:
    """Those of all layers, in order."""
    model = integer_graph.make_integer_network(ModelWrapper(qonnx)).model
    return [model.get_initializer(node.input[1]) for node in model.graph.node if node.op_type == "MatMul"]


def train_network() -> tuple[QuantizedNetwork, Frames]:
    """Of ARCHITECTURE, for one epoch on frames of noise."""
    generator = np.random.default_rng(0)
    samples, labels = generator.standard_normal((128, 2, 64)), np.arange(128) % 24
    frames = Frames(samples.astype(np.float32), labels, labels)
    torch.set_num_threads(1)
    model = build_model(ARCHITECTURE, seed=0)
    train(model, frames, Phase(0, 1, 0.01, 1e-4, 32, 5), seed=0)
    return model, frames


def build(finn: Finn, model: QuantizedNetwork, frames: Frames, folder: Path) -> FinnOutput:
    write_weights(folder / "weights.safetensors", model)
    vectors = frames.select(np.arange(N_FRAMES))
    export_evaluation(ARCHITECTURE, folder / "weights.safetensors", vectors, folder, 2)
    return build_exported(finn, folder, folder / "build", level=BuildLevel.ESTIMATE)


def export(tmp_path: Path, *blocks: Block) -> ModelWrapper:
    architecture = ArchitectureConfig(blocks=(*blocks, linear(24, 8)), frame_length=64)
    export_architecture(architecture, tmp_path / "model.onnx")
    return ModelWrapper(str(tmp_path / "model.onnx"))


HARD_SWISH = Conv(out_channels=8, kernel_size=5, activation="hard_swish", weight_bit_width=4, activation_bit_width=4)
EVEN = Conv(out_channels=8, kernel_size=4, weight_bit_width=4, activation_bit_width=4)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((HARD_SWISH, GlobalPool()), "is a HardSwish; expected one of"),
        ((conv(8), GlobalPool(operation="average")), "is a ReduceMean; expected one of"),
        ((Parallel(branches=((conv(8),), (conv(8),))), GlobalPool()), "is a Concat; expected one of"),
        ((conv(8), dsc(5, 1, 8, 8, 8).model_copy(update={"squeeze_channels": 4}), GlobalPool()), "expected one of"),
    ],
    ids=["hard-swish", "average", "branches", "gate"],
)
def test_block_that_finn_does_not_take_is_named(
    integer_graph: ModuleType, blocks: tuple[Block, ...], message: str, tmp_path: Path
) -> None:
    model = export(tmp_path, InputQuantizer(), *blocks)
    with pytest.raises(integer_graph.UnsupportedLayerError, match=message):
        integer_graph.make_integer_network(model)


def test_hard_tanh_of_the_frames_is_the_range_of_their_integers(integer_graph: ModuleType, tmp_path: Path) -> None:
    model = export(tmp_path, InputQuantizer(clip=3.0, lowest=-2.0), conv(8), GlobalPool())
    quantizer = integer_graph.make_integer_network(model).input_quantizer
    assert (quantizer.lowest, quantizer.highest) == (-85, 127)
    assert quantizer.scale == pytest.approx(3 / 128)
