"""Which execution training goes through, and that all of them compute the network."""

import copy
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from storage.dataset.frames import Frames
from workers.cpu.blocked_frames import Engine
from workers.cpu.native_forward import run_native
from workers.cpu.native_library import available_instruction_sets, find_problem
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import list_fused_layers
from workers.model import QuantizedNetwork, build_model
from workers.training_path import PathName, choose_training_path

CONV = Conv(out_channels=16, kernel_size=3, weight_bit_width=8, activation_bit_width=8)
SEPARABLE = DepthwiseSeparable(out_channels=24, kernel_size=9, stride=2, weight_bit_width=6, activation_bit_width=6)
RESIDUAL = DepthwiseSeparable(out_channels=24, kernel_size=5, weight_bit_width=6, activation_bit_width=6, residual=True)
INVERTED = InvertedResidual(out_channels=16, kernel_size=3, expansion=2, weight_bit_width=4, activation_bit_width=3)
FLOAT_RESIDUAL = DepthwiseSeparable(out_channels=24, kernel_size=3, weight_bit_width=32, activation_bit_width=32)
HIDDEN = Linear(out_features=32, weight_bit_width=8, activation_bit_width=8)
SCORES = Linear(out_features=24, weight_bit_width=8)

NETWORKS: dict[str, tuple[Block, ...]] = {
    "vgg": (InputQuantizer(), CONV, MaxPool(kernel_size=2), CONV, MaxPool(kernel_size=4), HIDDEN, SCORES),
    "separable": (InputQuantizer(), SEPARABLE, RESIDUAL, RESIDUAL, GlobalPool(), SCORES),
    "pool behind a residual": (InputQuantizer(), SEPARABLE, RESIDUAL, MaxPool(kernel_size=2), RESIDUAL, SCORES),
    "inverted": (InputQuantizer(), CONV, INVERTED, INVERTED, CONV, SCORES),
    "half float": (InputQuantizer(), SEPARABLE, FLOAT_RESIDUAL, SEPARABLE, GlobalPool(), SCORES),
    "float": (
        Conv(out_channels=16, kernel_size=7, stride=4, weight_bit_width=32, activation_bit_width=32),
        GlobalPool(),
        Linear(out_features=24, weight_bit_width=32),
    ),
}


SEEDS_WITHOUT_TIES = {
    "vgg": 88,
    "separable": 54,
    "pool behind a residual": 135,
    "inverted": 113,
    "half float": 24,
    "float": 0,
}
"""Of weights for which no value is near a rounding tie, where float32 may round to the other code."""


def make_network(name: str, frame_length: int = 128, seed: int = 3) -> QuantizedNetwork:
    return build_model(ArchitectureConfig(blocks=NETWORKS[name], frame_length=frame_length), seed)


def make_codes(n_frames: int, frame_length: int = 128) -> Frames:
    random = np.random.default_rng(5)
    codes = random.integers(-128, 128, (2 * n_frames, 2, frame_length), np.int8)
    positions = random.permutation(2 * n_frames)[:n_frames]
    labels = np.zeros(n_frames, np.int64)
    return Frames(codes, labels, labels, positions, np.float32(3 / 128))


def train_once(forward: object, model: QuantizedNetwork, batch: object) -> tuple[float, dict[str, Tensor]]:
    model.train()
    scores = forward(batch)  # type: ignore[operator]
    loss = nn.functional.cross_entropy(scores, torch.arange(len(scores)) % 24)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def find_tie_margin(model: QuantizedNetwork, frames: Tensor) -> float:
    """The least distance of a quantizer's input from a tie or from zero, in steps, relative to its size in steps."""
    margins: list[float] = []

    def measure(module: nn.Module, arguments: tuple[Tensor]) -> None:
        quantizer, x = ActivationQuantizer("a ReLU", module), arguments[0].detach()
        if quantizer.integers is None:
            margins.append(x[x != 0].abs().min().item())
            return
        steps = x / quantizer.scale.detach()
        margins.append(steps[steps != 0].abs().min().item())
        inside = steps[(steps > 0) & (steps < quantizer.integers.highest + 1)]
        margins.append(((inside - inside.floor() - 0.5).abs() / (1 + inside)).min().item())

    parts = [part for block in model.blocks for part in block.children()]
    hooks = [part.register_forward_pre_hook(measure) for part in parts if isinstance(part, qnn.QuantReLU | nn.ReLU)]
    model.train()(frames)
    for hook in hooks:
        hook.remove()
    return min(margins)


def test_native_code_is_there_so_that_what_follows_tests_it() -> None:
    assert find_problem() is None


@pytest.mark.parametrize("instruction_set", available_instruction_sets())
@pytest.mark.parametrize("name", NETWORKS)
def test_native_path_computes_the_loss_and_all_gradients_of_the_layers_in_double_precision(
    name: str, instruction_set: str
) -> None:
    n_frames, length = 17, 32  # two blocks of 16 frames, the second nearly empty
    native = make_network(name, length, SEEDS_WITHOUT_TIES[name])
    exact = copy.deepcopy(native).double()
    frames = torch.from_numpy(make_codes(n_frames, length).gather(np.arange(n_frames)))
    assert find_tie_margin(exact, frames.double()) > 5e-6
    assert choose_training_path(native).name == PathName.NATIVE
    run = partial(run_native, list_fused_layers(native), engine=Engine(instruction_set))
    loss, gradients = train_once(run, native, frames)
    expected_loss, expected = train_once(exact, exact, frames.double())
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys() == dict(native.named_parameters()).keys()
    for key, gradient in expected.items():
        size = gradient.norm()
        tolerated = 5e-6 * size if gradient.ndim else 1e-3 * size + 1e-8  # a scale's is a sum that nearly cancels
        assert (gradients[key] - gradient).norm() <= tolerated, key


def test_gradients_of_a_whole_training_are_those_of_the_layers() -> None:
    """Where a value is near a tie one code differs, and with it all gradients a little; no gradient is too small."""
    model, frames = make_network("separable"), make_codes(640)
    native = choose_training_path(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    sizes: dict[str, list[float]] = {}
    for step in range(60):
        indices = torch.arange(64) + 64 * (step % 10)
        batch = native.load(frames, indices)
        if step % 4 == 0:
            twin = copy.deepcopy(model)
            _, expected = train_once(twin, twin, torch.from_numpy(frames.gather(indices.numpy())))
            other = copy.deepcopy(model)
            run = choose_training_path(other)
            _, gradients = train_once(run.forward, other, run.load(frames, indices))
            for key, gradient in expected.items():
                size = (gradients[key] * gradient).sum() / (gradient * gradient).sum()
                sizes.setdefault(key, []).append(float(size))
        optimizer.zero_grad()
        train_once(native.forward, model, batch)
        optimizer.step()
    assert all(np.median(of_one) == pytest.approx(1, abs=1e-3) for of_one in sizes.values()), sizes
    weights = {key: np.mean(of_one) for key, of_one in sizes.items() if "scaling" not in key}
    assert all(mean == pytest.approx(1, abs=0.02) for mean in weights.values()), weights


@pytest.mark.parametrize("name", ["separable", "inverted"])
def test_training_does_not_depend_on_the_number_of_threads(name: str) -> None:
    frames = torch.from_numpy(make_codes(70).gather(np.arange(70)))
    one, three = make_network(name), make_network(name)
    loss, gradients = train_once(partial(run_native, list_fused_layers(one), engine=Engine(n_threads=1)), one, frames)
    expected_loss, expected = train_once(
        partial(run_native, list_fused_layers(three), engine=Engine(n_threads=3)), three, frames
    )
    assert loss == expected_loss
    assert all(torch.equal(gradients[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["vgg", "separable"])
def test_codes_that_go_straight_to_blocks_train_as_samples_do(name: str) -> None:
    frames, indices = make_codes(40), torch.randperm(40, generator=torch.Generator().manual_seed(1))
    by_codes, by_samples = make_network(name), make_network(name)
    codes_path, samples_path = choose_training_path(by_codes), choose_training_path(by_samples)
    samples = torch.from_numpy(frames.gather(indices.numpy()))
    loss, gradients = train_once(codes_path.forward, by_codes, codes_path.load(frames, indices))
    expected_loss, expected = train_once(samples_path.forward, by_samples, samples)
    assert loss == expected_loss
    assert all(torch.equal(gradients[key], expected[key]) for key in expected)


def test_codes_of_another_quantizer_are_not_taken_for_the_networks_own() -> None:
    blocks = (InputQuantizer(bit_width=4), *NETWORKS["separable"][1:])
    frames = make_codes(40)
    native = build_model(ArchitectureConfig(blocks=blocks, frame_length=128), seed=3).eval()
    exact = build_model(ArchitectureConfig(blocks=blocks, frame_length=128), seed=3).eval()
    path = choose_training_path(native)
    with torch.no_grad():
        scores = path.forward(path.load(frames, torch.arange(40)))
        expected = exact(torch.from_numpy(frames.gather(np.arange(40))))
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-3)


def test_network_with_an_unknown_layer_is_trained_by_its_own_layers_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_network("vgg")
    model.blocks.append(nn.Dropout())
    path = choose_training_path(model)
    assert (path.name, path.forward) == (PathName.BREVITAS, model)
    assert "is Dropout" in caplog.text
    assert "several times slower" in caplog.text


def test_machine_without_a_compiler_takes_the_portable_path(tmp_path: Path) -> None:
    code = (
        "from tests.workers.test_training_path import make_network, make_codes\n"
        "import torch\n"
        "from workers.training_path import choose_training_path\n"
        "path = choose_training_path(make_network('vgg'))\n"
        "print(path.name, tuple(path.forward(path.load(make_codes(4), torch.arange(4))).shape))"
    )
    environment = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "CXX": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "channels-last (4, 24)"
    assert "training takes the portable path" in done.stderr
