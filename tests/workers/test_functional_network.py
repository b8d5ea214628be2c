"""The functional network computes what the Brevitas layers compute, on their own parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import pytest
import torch
from brevitas.quant import Int8WeightPerChannelFloat
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from spaces.architecture import ArchitectureConfig, infer_shapes
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from workers.cpu import tiled_layers
from workers.functional_network import TrainingForward, make_channels_last_forward, make_exact_forward
from workers.functional_quantizers import UnsupportedModuleError
from workers.layers import ConvBlock, QuantizedBlock
from workers.model import QuantizedNetwork, build_model
from workers.qonnx_export import check_export, write_qonnx
from workers.training import Phase, make_optimizer

N_CLASSES = 5
BATCH_SIZE = 12
BIT_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 32)
MAKERS: tuple[Callable[[QuantizedNetwork], TrainingForward], ...] = (make_exact_forward, make_channels_last_forward)


def conv(bits: int, stride: int = 1, channels: int = 6) -> Conv:
    return Conv(out_channels=channels, kernel_size=3, stride=stride, weight_bit_width=bits, activation_bit_width=bits)


def separable(bits: int, stride: int = 1) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        out_channels=6, kernel_size=5, stride=stride, weight_bit_width=bits, activation_bit_width=bits
    )


def inverted(bits: int, stride: int = 1) -> InvertedResidual:
    return InvertedResidual(
        out_channels=6, kernel_size=5, stride=stride, expansion=2, weight_bit_width=bits, activation_bit_width=bits
    )


BLOCKS: dict[str, Callable[[int], tuple[Block, ...]]] = {
    "conv": lambda bits: (conv(bits, stride=2),),
    "separable": lambda bits: (separable(bits, stride=2),),
    "separable residual": lambda bits: (separable(bits), separable(bits)),
    "inverted": lambda bits: (inverted(bits, stride=2),),
    "inverted residual": lambda bits: (inverted(bits), MaxPool(kernel_size=2), inverted(bits)),
    "bits of each layer": lambda bits: (
        separable(bits, stride=2).model_copy(
            update={"depthwise_weight_bit_width": 6, "depthwise_activation_bit_width": 3}
        ),
    ),
    "conv and pool": lambda bits: (conv(bits), MaxPool(kernel_size=2), conv(bits), MaxPool(kernel_size=4)),
    "pools": lambda bits: (MaxPool(kernel_size=2), conv(bits), MaxPool(kernel_size=3)),
    "linear": lambda bits: (
        MaxPool(kernel_size=8),
        Linear(out_features=7, weight_bit_width=bits, activation_bit_width=bits),
        Linear(out_features=9, weight_bit_width=bits, activation_bit_width=bits),
    ),
}


def network(name: str, bits: int, stem_bits: int | None = None) -> ArchitectureConfig:
    """The blocks behind a convolution that gives them six unsigned channels, and in front of the class scores."""
    blocks: list[Block] = [InputQuantizer(bit_width=min(bits, 8)), conv(stem_bits or bits), *BLOCKS[name](bits)]
    if name != "linear":
        blocks.append(GlobalPool())
    blocks.append(Linear(out_features=N_CLASSES, weight_bit_width=bits))
    return ArchitectureConfig(blocks=tuple(blocks), frame_length=48, n_classes=N_CLASSES)


def make_model(architecture: ArchitectureConfig, dtype: torch.dtype) -> QuantizedNetwork:
    """A network with batch norms and scales as training leaves them: all drawn, that no gradient be small by luck."""
    model = build_model(architecture, seed=0).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data += 0.5 * torch.rand(parameter.shape, generator=generator)
        elif parameter.ndim == 0:
            parameter.data.fill_(1.5 + torch.rand((), generator=generator).item())
    return model


def draw_frames(architecture: ArchitectureConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    frames = torch.randn(BATCH_SIZE, 2, architecture.frame_length, generator=generator)
    return frames.to(dtype), torch.randint(0, N_CLASSES, (BATCH_SIZE,), generator=generator)


def backpropagate(forward: Callable[[Tensor], Tensor], frames: Tensor, labels: Tensor) -> Tensor:
    logits = forward(frames)
    F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    return logits.detach()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bits", BIT_WIDTHS)
@pytest.mark.parametrize("name", BLOCKS)
def test_exact_network_has_the_logits_of_brevitas_bit_for_bit(name: str, bits: int, dtype: torch.dtype) -> None:
    architecture = network(name, bits)
    model = make_model(architecture, dtype)
    functional_model = copy.deepcopy(model)
    forward = make_exact_forward(functional_model)
    frames, _ = draw_frames(architecture, dtype)
    assert torch.equal(model(frames), forward(frames))
    for buffer_name, buffer in model.named_buffers():
        assert torch.equal(buffer, functional_model.get_buffer(buffer_name)), buffer_name
    assert model.eval()(frames).std() > 0
    functional_model.eval()
    assert torch.equal(model(frames), forward(frames))


@pytest.mark.parametrize("bits", BIT_WIDTHS)
@pytest.mark.parametrize("name", BLOCKS)
def test_exact_network_has_the_gradients_of_brevitas(name: str, bits: int) -> None:
    architecture = network(name, bits)
    model = make_model(architecture, torch.float64)
    functional_model = copy.deepcopy(model)
    frames, labels = draw_frames(architecture, torch.float64)
    backpropagate(model, frames, labels)
    backpropagate(make_exact_forward(functional_model), frames, labels)
    expected, found = gradients(model), gradients(functional_model)
    assert list(found) == list(expected) == [parameter_name for parameter_name, _ in model.named_parameters()]
    for parameter_name, gradient in expected.items():
        assert (found[parameter_name] - gradient).abs().max() < 1e-10, parameter_name


@pytest.mark.parametrize("stem_bits", [4, 32], ids="stem {}".format)
@pytest.mark.parametrize("bits", BIT_WIDTHS)
@pytest.mark.parametrize("name", BLOCKS)
def test_channels_last_network_is_the_exact_one_but_for_rounding(
    name: str, bits: int, stem_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled_layers, "TILE_ELEMENTS", 1000)  # many tiles, the last one shorter
    architecture = network(name, bits, stem_bits)
    model = make_model(architecture, torch.float64)
    fast_model = copy.deepcopy(model)
    exact, fast = make_exact_forward(model), make_channels_last_forward(fast_model)
    frames, labels = draw_frames(architecture, torch.float64)
    difference = backpropagate(exact, frames, labels) - backpropagate(fast, frames, labels)
    assert difference.abs().max() < 1e-10
    expected, found = gradients(model), gradients(fast_model)
    assert list(found) == list(expected)
    for parameter_name, gradient in expected.items():
        assert (found[parameter_name] - gradient).abs().max() < 1e-10, parameter_name
    for buffer_name, buffer in model.named_buffers():
        assert (fast_model.get_buffer(buffer_name) - buffer).abs().max() < 1e-10, buffer_name
    model.eval()
    fast_model.eval()
    assert (exact(frames) - fast(frames)).abs().max() < 1e-10


def test_channels_last_network_takes_a_batch_of_one_frame() -> None:
    """The last batch of an epoch may be one."""
    architecture = network("separable", 4)
    model = make_model(architecture, torch.float64)
    frames = draw_frames(architecture, torch.float64)[0][:1]
    expected = make_exact_forward(copy.deepcopy(model))(frames)
    assert (make_channels_last_forward(model)(frames) - expected).abs().max() < 1e-10


def test_networks_of_these_tests_have_residual_sums() -> None:
    assert infer_shapes(network("separable residual", 4))[3].is_residual
    assert infer_shapes(network("inverted residual", 4))[4].is_residual


@pytest.mark.parametrize("make_forward", MAKERS)
def test_functional_network_follows_a_state_that_is_loaded_after_it_was_made(
    make_forward: Callable[[QuantizedNetwork], TrainingForward],
) -> None:
    """Brevitas makes new parameters of scales when a state is loaded."""
    architecture = network("separable", 4)
    model, other = build_model(architecture, seed=0).eval(), make_model(architecture, torch.float32).eval()
    forward = make_forward(model)
    frames, _ = draw_frames(architecture, torch.float32)
    assert (model(frames) - other(frames)).abs().max() > 0.01
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(forward(frames), other(frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make_forward", MAKERS)
def test_an_unknown_module_is_refused_by_name(
    make_forward: Callable[[QuantizedNetwork], TrainingForward],
) -> None:
    class Doubling(QuantizedBlock):
        def forward(self, x: Tensor, input_quantizer: nn.Module | None) -> Tensor:
            return 2 * x

    model = build_model(network("conv", 4), seed=0)
    model.blocks[2] = Doubling()
    with pytest.raises(UnsupportedModuleError, match=r"blocks\.2 is Doubling; expected a block that"):
        make_forward(model)


@pytest.mark.parametrize("make_forward", MAKERS)
def test_an_unknown_quantizer_is_refused_by_name(
    make_forward: Callable[[QuantizedNetwork], TrainingForward],
) -> None:
    model = build_model(network("conv", 4), seed=0)
    block = model.blocks[1]
    assert isinstance(block, ConvBlock)
    block.output_quantizer = qnn.QuantReLU(bit_width=4)  # learns its scale from statistics
    with pytest.raises(
        UnsupportedModuleError, match=r"blocks\.1\.output_quantizer is quantized with ParameterFromRuntimeStats"
    ):
        make_forward(model)
    block.output_quantizer = nn.ReLU()
    block.conv = qnn.QuantConv1d(2, 6, 3, padding=1, bias=False, weight_quant=Int8WeightPerChannelFloat)
    with pytest.raises(UnsupportedModuleError, match=r"blocks\.1\.conv is quantized with OverOutputChannelView"):
        make_forward(model)
    block.conv = qnn.QuantConv1d(2, 6, 3, bias=False)
    with pytest.raises(
        UnsupportedModuleError,
        match=r"blocks\.1\.conv has padding, dilation and padding mode \(\(0,\), \(1,\), 'zeros'\)",
    ):
        make_forward(model)
    block.conv = qnn.QuantConv1d(2, 6, 3, padding=1)
    with pytest.raises(UnsupportedModuleError, match=r"blocks\.1\.conv has a bias"):
        make_forward(model)


STATISTICS_STEPS = 300
"""Brevitas's default collect_stats_steps: so long its activation scales follow a percentile of what they quantize."""


def train_steps(model: nn.Module, optimizer: Adam, n_steps: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    frames, labels = torch.randn(n_steps, *shape, generator=generator), torch.arange(shape[0]) % N_CLASSES
    model.train()
    for step_frames in frames:
        optimizer.zero_grad(set_to_none=True)
        backpropagate(model, step_frames, labels)
        optimizer.step()


def test_weight_decay_destroys_the_scales_of_brevitas_own_statistics_phase() -> None:
    """Its scale parameter then has a gradient of zero, so Adam makes a full step of what weight decay adds."""
    relu = qnn.QuantReLU(bit_width=6)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), relu, nn.Linear(8, N_CLASSES))
    optimizer = Adam(model.parameters(), lr=0.01, weight_decay=1e-4)
    train_steps(model, optimizer, STATISTICS_STEPS, (16, 8))
    collected = relu.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.buffer.item()
    assert collected > 1
    train_steps(model, optimizer, 1, (16, 8))
    assert relu.act_quant.scale().item() * 63 < 0.05 * collected


def test_scales_of_this_projects_layers_live_under_weight_decay() -> None:
    model = build_model(network("separable", 6), seed=0)
    optimizer = make_optimizer(model, Phase(0, 1, 0.01, weight_decay=1e-4, batch_size=16, restart_epochs=1))
    train_steps(model, optimizer, STATISTICS_STEPS + 1, (16, 2, 48))
    scales = [parameter.item() for name, parameter in model.named_parameters() if "scaling_impl" in name]
    assert len(scales) == 3
    assert min(scales) > 1


@pytest.mark.parametrize("make_forward", MAKERS)
def test_a_network_trained_through_its_functions_is_exported_as_brevitas_evaluates_it(
    make_forward: Callable[[QuantizedNetwork], TrainingForward], tmp_path: Path
) -> None:
    architecture = network("separable residual", 5)
    model = build_model(architecture, seed=0)
    forward = make_forward(model)
    optimizer = Adam(model.parameters(), lr=0.01)
    frames, labels = draw_frames(architecture, torch.float32)
    for _ in range(5):
        optimizer.zero_grad(set_to_none=True)
        backpropagate(forward, frames, labels)
        optimizer.step()
    model.eval()
    write_qonnx(model, architecture, tmp_path / "model.onnx")
    with torch.no_grad():
        logits = model(frames)
    check_export(tmp_path / "model.onnx", frames.numpy(), logits.numpy())
