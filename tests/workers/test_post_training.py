"""Networks that are quantized after their training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spaces.architecture import ArchitectureConfig, make_float
from spaces.blocks import (
    Block,
    Conv,
    DepthwiseSeparable,
    GlobalPool,
    InputQuantizer,
    InvertedResidual,
    Linear,
    MaxPool,
    Parallel,
)
from storage.dataset.frames import Frames
from workers.functional_quantizers import ActivationQuantizer, UnsupportedModuleError
from workers.fused_layers import list_fused_layers
from workers.inference_cost import list_mac_layers
from workers.model import Network, build_model
from workers.post_training import quantize_trained
from workers.training_path import PathName, choose_training_path

CLASSIFIER = Linear(out_features=24, weight_bit_width=8)


def conv(channels: int, bits: int = 8, activation: str = "relu") -> Conv:
    fields = {"kernel_size": 9, "stride": 4, "weight_bit_width": bits, "activation_bit_width": bits}
    return Conv.model_validate({"out_channels": channels, "activation": activation, **fields})


def network(*blocks: Block) -> ArchitectureConfig:
    return ArchitectureConfig(blocks=(InputQuantizer(), *blocks, CLASSIFIER))


@pytest.fixture
def frames() -> Frames:
    generator = np.random.default_rng(1)
    samples = generator.normal(size=(64, 2, 1024)).astype(np.float32)
    labels = np.arange(64) % 24
    return Frames(samples, labels, np.zeros(64, np.int64))


def train_norms(model: torch.nn.Module, frames: Frames) -> None:
    """Batch norms as after a training: their statistics are those of the frames."""
    model.train()
    with torch.no_grad():
        for _ in range(40):
            model(torch.from_numpy(frames.gather(slice(None))))
    model.eval()


SEPARABLE = DepthwiseSeparable(out_channels=8, kernel_size=5, weight_bit_width=8, activation_bit_width=8)
INVERTED = InvertedResidual(
    out_channels=8,
    kernel_size=5,
    hidden_channels=12,
    squeeze_channels=4,
    linear_projection=True,
    weight_bit_width=8,
    activation_bit_width=8,
)


@pytest.mark.parametrize(
    "blocks",
    [
        (conv(8), SEPARABLE, GlobalPool()),
        (conv(8, activation="hard_swish"), INVERTED, GlobalPool(operation="average")),
        (conv(8), MaxPool(kernel_size=4)),
        (Parallel(branches=((conv(8),), (conv(4),))), GlobalPool()),
    ],
    ids=["separable, residual", "inverted, gate, average", "convolution, pool", "branches"],
)
def test_eight_bits_change_the_scores_little_and_three_change_them_more(
    blocks: tuple[Block, ...], frames: Frames
) -> None:
    errors = []
    for bits in (8, 3):
        architecture = network(*(_with_bits(block, bits) for block in blocks))
        trained = build_model(make_float(architecture), seed=3)
        train_norms(trained, frames)
        quantized = quantize_trained(Network(make_float(architecture), trained), architecture, frames, 64, seed=1)
        quantized.model.eval()
        x = torch.from_numpy(frames.gather(slice(None)))
        with torch.no_grad():
            expected, scores = trained(x), quantized.model(x)
        errors.append(float((scores - expected).norm() / expected.norm()))
        assert quantized.architecture == architecture
    assert errors[0] < 0.05 < errors[1]


def _with_bits(block: Block, bits: int) -> Block:
    if isinstance(block, Parallel):
        branches = tuple(tuple(_with_bits(inner, bits) for inner in branch) for branch in block.branches)
        return block.model_copy(update={"branches": branches})
    names = [name for name, value in block if "bit_width" in name and value is not None]
    return block.model_copy(update=dict.fromkeys(names, bits))


def test_range_of_an_activation_is_the_largest_value_of_the_calibration_frames(frames: Frames) -> None:
    architecture = network(conv(8))
    trained = build_model(make_float(architecture), seed=3)
    train_norms(trained, frames)
    few = quantize_trained(Network(architecture, trained), architecture, frames, 4, seed=1).model.blocks[1]
    all_of_them = quantize_trained(Network(architecture, trained), architecture, frames, 64, seed=1).model.blocks[1]
    with torch.no_grad():
        x = trained.blocks[0](torch.from_numpy(frames.gather(slice(None))), None)
        largest = float(trained.blocks[1](x, None).max())
    quantizer = ActivationQuantizer("output", all_of_them.get_submodule("output_quantizer"))
    assert float(quantizer.range) == pytest.approx(largest)
    assert float(ActivationQuantizer("output", few.get_submodule("output_quantizer")).range) < largest


def test_float_network_has_32_bits_everywhere_but_in_its_input() -> None:
    architecture = make_float(network(Parallel(branches=((conv(8),), (conv(4),))), SEPARABLE, GlobalPool()))
    layers = list_mac_layers(architecture)
    assert {layer.weight_bit_width for layer in layers} == {32}
    assert [layer.activation_bit_width for layer in layers] == [8, 8, 32, 32, 32]


def test_linear_projection_of_integers_is_trained_through_its_brevitas_layers() -> None:
    """The other paths know unsigned integers alone."""
    plain = INVERTED.model_copy(update={"squeeze_channels": None})
    model = build_model(network(conv(8), plain, conv(8), GlobalPool()), seed=1)
    assert choose_training_path(model).name is PathName.BREVITAS
    with pytest.raises(UnsupportedModuleError, match=r"blocks.2.output_quantizer has no ReLU; expected one"):
        list_fused_layers(model)
