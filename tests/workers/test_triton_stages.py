"""A Triton stage is the plain composition in double precision; without a GPU, as Triton's interpreter runs it.

`tests/conftest.py` chooses the interpreter; on a machine with a GPU, TRITON_INTERPRET=0 has the kernels compiled.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig
from tests.workers.plain_stages import (
    Case,
    Outcome,
    copy_inputs,
    copy_norm,
    find_near_ties,
    finish,
    make_case,
    run_plain,
)
from workers.functional_network import TrainingForward, make_exact_forward
from workers.model import QuantizedNetwork, build_model
from workers.triton_forward import make_triton_forward
from workers.triton_stages import DENSE_TILE, MAX_SPLITS, TILE, DeviceCodeRange, DeviceResidual, triton_stage

DEVICE = torch.device("cpu" if os.environ["TRITON_INTERPRET"] == "1" else "cuda")

ROOT = Path(__file__).parent.parent.parent

N_RANDOM_CASES = 12

KERNELS = {
    "convolve_depthwise",
    "convolve_dense",
    "finish_statistics",
    "normalize_and_quantize",
    "sum_gradients",
    "differentiate_norm",
    "differentiate_depthwise_input",
    "differentiate_depthwise_weight",
    "differentiate_dense_input",
    "differentiate_dense_weight",
}


@pytest.mark.parametrize("seed", range(N_RANDOM_CASES))
def test_random_stage_is_the_composition_in_double_precision(seed: int) -> None:
    check_case(draw_small_case(random.Random(seed)))


@pytest.mark.parametrize("bit_width", [*range(2, 9), 32])
@pytest.mark.parametrize("has_residual", [False, True])
def test_every_bit_width_with_and_without_residual(bit_width: int, has_residual: bool) -> None:
    drawn = random.Random(100 + bit_width)
    check_case(make_case(drawn, (5, 6, 31), 6, 5, 1, 2, False, bit_width, has_residual, 1, is_training=True))


def test_statistics_and_sums_are_put_together_from_many_tiles() -> None:
    depthwise = make_case(random.Random(1), (4, 2, 700), 2, 3, 1, 1, True, 6, True, 1, is_training=True)
    assert 2 * TILE < 4 * 700
    check_case(depthwise)
    dense = make_case(random.Random(2), (9, 2, 1000), 3, 3, 1, 1, False, 6, False, 1, is_training=True)
    assert MAX_SPLITS * DENSE_TILE < 9 * 1000
    check_case(dense)


def test_statistics_of_values_far_from_zero_keep_their_digits() -> None:
    """Sums of squares would lose the variance, which is a millionth of them."""
    norm = nn.BatchNorm1d(1).to(DEVICE)
    noise = torch.randn(4, 1, 700, generator=torch.Generator().manual_seed(1))
    triton_stage((noise + 1000).to(DEVICE), torch.ones(1, 1, 1, device=DEVICE), norm, DeviceCodeRange())
    assert norm.running_var is not None
    expected = 0.9 + 0.1 * (noise + 1000).double().var()
    assert norm.running_var.item() == pytest.approx(expected.item(), rel=1e-5)


def test_values_that_are_no_numbers_stay_so() -> None:
    x = torch.ones(3, 1, 8, device=DEVICE)
    x[1, 0, 2] = torch.nan
    quantizer = DeviceCodeRange(torch.tensor(0.1, device=DEVICE), 15)
    out = triton_stage(x, torch.ones(1, 1, 1, device=DEVICE), nn.BatchNorm1d(1).to(DEVICE), quantizer)
    assert out.isnan().all()


def test_one_value_per_channel_has_no_batch_statistics() -> None:
    with pytest.raises(ValueError, match="expected more than 1 value per channel"):
        triton_stage(torch.ones(1, 2, 1), torch.ones(2, 2, 1), nn.BatchNorm1d(2), DeviceCodeRange())


def test_a_network_of_triton_stages_is_its_twin(tone_architecture: ArchitectureConfig) -> None:
    """With weights for which no value lies on a rounding tie: one code that flipped would change many behind it."""
    models = [build_model(tone_architecture, seed=0).train().to(DEVICE) for _ in range(2)]
    scores, gradients = run_network(models[0], make_exact_forward(models[0]))
    triton_scores, triton_gradients = run_network(models[1], make_triton_forward(models[1]))
    torch.testing.assert_close(triton_scores, scores, rtol=1e-4, atol=1e-4)
    assert len(gradients) == len(list(models[0].parameters()))
    for found, expected in zip(triton_gradients, gradients, strict=True):
        assert (found - expected).norm() <= 1e-3 * expected.norm() + 1e-6
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("compute_capability", ["80", "90"])
def test_all_kernels_compile_for_gpus_and_no_launch_waits_for_a_value(compute_capability: str, tmp_path: Path) -> None:
    """To machine code, by the assembler that comes with Triton; no GPU is needed for that."""
    command = [sys.executable, "-m", "tests.workers.compile_triton_stages", compute_capability]
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    shared_bytes = [line.split() for line in result.stdout.splitlines()]
    assert {name for name, _ in shared_bytes} == KERNELS
    assert max(int(size) for _, size in shared_bytes) <= 99 * 1024  # of one block, compute capability 8.6 and up


def run_network(model: QuantizedNetwork, forward: TrainingForward) -> tuple[Tensor, list[Tensor]]:
    frames = torch.randn(6, 2, 64, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    scores = forward(frames)
    nn.functional.cross_entropy(scores, torch.arange(6, device=DEVICE) % 4).backward()  # type: ignore[no-untyped-call]
    return scores.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def draw_small_case(drawn: random.Random) -> Case:
    is_depthwise = drawn.random() < 0.5
    in_channels = drawn.randint(1, 20)
    out_channels = in_channels if is_depthwise else drawn.randint(1, 70)
    kernel_size = drawn.choice([1, 1, 3, 5, 8, 9, 21, 41])
    padding = drawn.choice([0, kernel_size // 2, kernel_size // 2, drawn.randint(0, kernel_size + 3)])
    shape = drawn.randint(2, 6), in_channels, drawn.randint(max(2, kernel_size - 2 * padding), 60)
    stride, bit_width, has_residual = drawn.randint(1, 4), drawn.choice([*range(2, 9), 32]), drawn.random() < 0.4
    return make_case(
        drawn, shape, out_channels, kernel_size, stride, padding, is_depthwise, bit_width, has_residual, 1, True
    )


def check_case(case: Case) -> None:
    """Compares where no value is near a rounding tie; elsewhere gradients are zero, so that none flows through."""
    near_tie = find_near_ties(case)
    assert near_tie.double().mean() < 0.5
    gradient = torch.randn(near_tie.shape, generator=torch.Generator().manual_seed(1)) * ~near_tie
    expected, found = run_plain(case, gradient), run_triton(case, gradient)
    assert found.values.shape == expected.values.shape
    assert ((found.values.cpu() - expected.values).abs() * ~near_tie).max() < 1e-4
    for name, wanted in expected.gradients.items():
        error = (found.gradients[name].cpu() - wanted).norm()
        assert error <= 1e-3 * wanted.norm() + 1e-6 * gradient.norm(), name
    for given, wanted in ((found.running_mean, expected.running_mean), (found.running_var, expected.running_var)):
        assert (given.cpu() - wanted).norm() <= 1e-6 * wanted.norm()


def run_triton(case: Case, gradient: Tensor) -> Outcome:
    given, norm = copy_inputs(case, torch.float32), copy_norm(case.norm, torch.float32).to(DEVICE)
    inputs = {name: value.detach().to(DEVICE).requires_grad_() for name, value in given.items()}
    residual = None
    if case.summand is not None:
        residual = DeviceResidual(inputs["summand"], DeviceCodeRange(inputs["sum_scale"], case.sum_highest))
    out = triton_stage(
        inputs["x"],
        inputs["weight"],
        norm,
        DeviceCodeRange(inputs.get("scale"), case.highest),
        residual,
        stride=case.stride,
        padding=case.padding,
        is_depthwise=case.is_depthwise,
    )
    return finish(out, gradient.to(DEVICE), inputs, norm)
