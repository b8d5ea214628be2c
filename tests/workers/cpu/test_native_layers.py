"""A fused layer is the plain composition in double precision, for any shape, on every instruction set this CPU has."""

from __future__ import annotations

import random
from dataclasses import replace

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.quant import Int8WeightPerTensorFloat
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.blocks import LayerBits
from tests.workers.plain_layers import (
    Case,
    ComputedLayer,
    copy_inputs,
    copy_norm,
    draw_case,
    find_near_ties,
    finish,
    make_case,
    run_plain,
)
from workers.cpu.blocked_frames import FASTEST, Blocked, Engine, from_blocked, gather_codes, to_blocked
from workers.cpu.native_layers import (
    Activation,
    CodeRange,
    Convolution,
    NativeLayer,
    QuantizedWeight,
    Residual,
    max_pool,
    run_layers,
)
from workers.cpu.native_library import available_instruction_sets, find_problem
from workers.functional_quantizers import IntegerRange
from workers.layers import make_activation

pytestmark = pytest.mark.skipif(find_problem() is not None, reason=f"no native library: {find_problem()}")

INSTRUCTION_SETS = available_instruction_sets()
N_RANDOM_CASES = 40

STREAMED_BYTES = 2 << 20
"""As in native/layer.h."""

RELU = Activation(CodeRange())


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("seed", range(N_RANDOM_CASES))
def test_random_layer_is_the_composition_in_double_precision(seed: int, instruction_set: str) -> None:
    check_case(draw_case(random.Random(seed)), Engine(instruction_set, n_threads=1 + seed % 2))


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("bit_width", range(2, 9))
@pytest.mark.parametrize("has_residual", [False, True])
def test_every_bit_width_with_and_without_residual(bit_width: int, has_residual: bool, instruction_set: str) -> None:
    drawn = random.Random(100 + bit_width)
    case = make_case(drawn, (19, 6, 31), 6, 5, 1, 2, False, bit_width, has_residual, 1, is_training=True)
    check_case(case, Engine(instruction_set))


def test_tensors_too_large_for_the_caches_take_the_streaming_path() -> None:
    case = make_case(random.Random(1), (60, 2, 1024), 32, 3, 1, 1, False, 8, False, 2, is_training=True)
    assert STREAMED_BYTES < 60 * 32 * 512 * 4  # half as many positions behind the pool
    check_case(case, Engine())


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_layers_of_codes_too_large_for_the_caches_compute_what_small_ones_do(instruction_set: str) -> None:
    generator = torch.Generator().manual_seed(11)
    frames, n_copies = torch.randn(16, 8, 256, generator=generator), 40
    assert 16 * 8 * 256 * 2 < STREAMED_BYTES < n_copies * 16 * 8 * 256 * 2  # sums of codes have two bytes
    gradient = torch.randn(frames.shape, generator=generator)
    weights = [torch.randn(8, 8, 3, generator=generator), torch.randn(8, 1, 5, generator=generator)]
    computed = []
    for copies in (1, n_copies):
        x, own = frames.repeat(copies, 1, 1), [weight.clone().requires_grad_() for weight in weights]
        layers = [layer_of_codes(weight) for weight in (own[0], own[1], own[0])]
        out = from_blocked(run_layers(to_blocked(x), layers, Engine(instruction_set)))
        torch.autograd.backward(out, gradient.repeat(copies, 1, 1))
        computed.append((out, [weight.grad for weight in own]))
    (small, small_gradients), (large, large_gradients) = computed
    assert torch.equal(large, small.repeat(n_copies, 1, 1))
    for one, many in zip(small_gradients, large_gradients, strict=True):
        assert one is not None
        assert many is not None
        torch.testing.assert_close(many, n_copies * one, rtol=1e-4, atol=1e-2)


@pytest.mark.skipif("avx512vnni" not in INSTRUCTION_SETS, reason="a CPU without VNNI")
@pytest.mark.parametrize(("channels", "kernel_size", "stride"), [(2, 1, 1), (7, 3, 1), (24, 1, 2), (13, 5, 3)])
def test_products_of_codes_are_exact_on_every_way_to_make_them(channels: int, kernel_size: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(12)
    frames = torch.randn(37, 3, 50, generator=generator)
    shapes = (channels, 3, 1), (9, channels, kernel_size)
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    computed = []
    for instruction_set in ("avx512vnni", "avx512"):
        first, second = (layer_of_codes(weight.clone().requires_grad_()) for weight in weights)
        second = replace(second, conv=replace(second.conv, stride=stride))
        out = from_blocked(run_layers(to_blocked(frames), [first, second], Engine(instruction_set)))
        out.square().sum().backward()  # type: ignore[no-untyped-call]
        computed.append((out, [layer.conv.weight.parameter.grad for layer in (first, second)]))
    (out, gradients), (expected, expected_gradients) = computed
    assert torch.equal(out, expected)
    assert out.any()
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert gradient is not None
        assert wanted is not None
        assert torch.equal(gradient, wanted)


def test_blocks_share_sums_where_weights_are_many() -> None:
    case = make_case(random.Random(4), (160, 400, 16), 400, 3, 1, 1, False, 4, False, 1, is_training=True)
    assert 10 * case.weight.numel() > 1 << 22  # MOST_PARTIAL_SUMS of native/network.cpp, with ten blocks
    check_case(case, Engine(n_threads=2))


@pytest.mark.parametrize("is_depthwise", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(is_depthwise: bool) -> None:
    case = make_case(random.Random(2), (70, 12, 45), 12, 5, 2, 2, is_depthwise, 4, False, 1, is_training=True)
    gradient = torch.randn(70, 12, case.out_length, generator=torch.Generator().manual_seed(3))
    one, three = run_fused(case, gradient, Engine(n_threads=1)), run_fused(case, gradient, Engine(n_threads=3))
    assert torch.equal(one.values, three.values)
    assert all(torch.equal(one.gradients[name], three.gradients[name]) for name in one.gradients)
    assert torch.equal(one.running_var, three.running_var)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("bit_width", range(2, 9))
def test_codes_are_brevitas_bit_for_bit_ties_included(bit_width: int, instruction_set: str) -> None:
    highest = 2**bit_width - 1
    largest = torch.tensor(4.265, requires_grad=True)
    engine = Engine(instruction_set)
    x = torch.linspace(-1.0, 6.0, 16 * 997).reshape(16, 1, 997)
    x[0, 0, : highest + 1] = (torch.arange(highest + 1) + 0.5) * (largest.detach() / highest)  # ties
    expected_x, fused_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    relu = make_activation(LayerBits(bit_width, bit_width), "relu")
    expected = relu(expected_x)
    one, activation = ONE, Activation(CodeRange(largest, highest))
    fused = from_blocked(run_layer(to_blocked(fused_x), one, identity_norm(), activation, engine))
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    torch.autograd.backward([expected, fused], [gradient, gradient])
    assert torch.equal(fused, expected)
    assert expected_x.grad is not None
    assert fused_x.grad is not None
    assert torch.equal(fused_x.grad != 0, expected_x.grad != 0)
    torch.testing.assert_close(fused_x.grad, expected_x.grad)
    (trained,) = relu.parameters()
    assert trained.grad is not None
    assert largest.grad is not None
    torch.testing.assert_close(largest.grad, trained.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bit_width", range(2, 9))
def test_weights_are_quantized_as_brevitas_does_ties_included(bit_width: int) -> None:
    highest = 2 ** (bit_width - 1) - 1
    conv = qnn.QuantConv1d(1, 300, 1, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=bit_width)
    with torch.no_grad():
        conv.weight.flatten()[:highest] = torch.arange(highest) + 0.5
        conv.weight.flatten()[highest : highest + 3] = torch.tensor([highest, -highest, highest])  # the largest, thrice
    weight = conv.weight.detach().clone().requires_grad_()
    quantized = QuantizedWeight(weight, IntegerRange(-highest, highest))
    norm = nn.BatchNorm1d(300, eps=0.0).eval()
    x = torch.ones(1, 1, 1)
    plain, native = conv(x), from_blocked(run_layer(to_blocked(x), replace(ONE, weight=quantized), norm, RELU, FASTEST))
    gradient = torch.randn(plain.shape, generator=torch.Generator().manual_seed(10))
    torch.autograd.backward([F.relu(plain), native], [gradient, gradient])
    assert torch.equal(native, F.relu(plain))
    assert weight.grad is not None
    assert conv.weight.grad is not None
    torch.testing.assert_close(weight.grad, conv.weight.grad, rtol=1e-5, atol=1e-5)


def test_lanes_beyond_the_frames_are_zero_and_have_no_part_in_statistics() -> None:
    norm = nn.BatchNorm1d(3)
    nn.init.ones_(norm.bias)
    x = torch.randn(5, 2, 9, generator=torch.Generator().manual_seed(6))
    out = run_layer(to_blocked(x), convolve_with(torch.ones(3, 2, 1)), norm, RELU, FASTEST)
    assert out.values.shape == (1, 3, 9, 16)
    assert not out.values[..., 5:].any()
    assert torch.allclose(norm.running_mean, 0.1 * x.sum(1).mean() * torch.ones(3), atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_training", [False, True])
def test_a_value_that_is_no_number_shows_behind_layers_of_codes(is_training: bool) -> None:
    x = torch.zeros(16, 1, 4)
    x[3, 0, 2] = torch.nan
    activation = Activation(CodeRange(torch.tensor(1.5), 15))
    layers = [NativeLayer(ONE, nn.BatchNorm1d(1), activation) for _ in range(3)]
    for layer in layers:
        layer.norm.train(is_training)
    assert from_blocked(run_layers(to_blocked(x), layers, FASTEST)).isnan().all()


def test_evaluation_leaves_running_statistics_alone() -> None:
    norm = identity_norm()
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with torch.no_grad():
        run_layer(to_blocked(torch.randn(3, 1, 8)), convolve_with(torch.ones(1, 1, 3)), norm, RELU, FASTEST)
    assert len(before) == 3
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


def test_one_value_per_channel_has_no_batch_statistics() -> None:
    one_value, conv = to_blocked(torch.ones(1, 2, 1)), convolve_with(torch.ones(2, 2, 1))
    with pytest.raises(ValueError, match="expected more than 1 value per channel"):
        run_layer(one_value, conv, nn.BatchNorm1d(2), RELU, FASTEST)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize(("length", "size"), [(16, 2), (15, 2), (30, 3), (8, 8)])
def test_max_pool_gives_the_gradient_to_the_first_of_equals(length: int, size: int, instruction_set: str) -> None:
    x = torch.randint(0, 3, (21, 4, length), generator=torch.Generator().manual_seed(7)).float()
    expected_x, fused_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = F.max_pool1d(expected_x, size)
    fused = from_blocked(max_pool(to_blocked(fused_x), size, Engine(instruction_set)))
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(8))
    torch.autograd.backward([expected, fused], [gradient, gradient])
    assert torch.equal(fused, expected)
    assert fused_x.grad is not None
    assert expected_x.grad is not None
    assert torch.equal(fused_x.grad, expected_x.grad)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("n_frames", [1, 16, 37])
def test_gathered_codes_are_the_indexed_frames_times_the_scale(n_frames: int, instruction_set: str) -> None:
    generator = torch.Generator().manual_seed(9)
    codes = torch.randint(-128, 128, (50, 2, 77), dtype=torch.int8, generator=generator)
    index = torch.randint(0, 50, (n_frames,), generator=generator)
    gathered = gather_codes(codes.numpy(), index.numpy(), 3 / 128, Engine(instruction_set))
    assert torch.equal(from_blocked(gathered), codes[index].float() * (3 / 128))
    assert not gathered.values[-1, ..., n_frames % 16 or 16 :].any()


def test_an_index_that_is_no_frame_is_told() -> None:
    codes = np.zeros((4, 2, 8), np.int8)
    with pytest.raises(IndexError, match="index has 1 to 4; expected 0 to 3"):
        gather_codes(codes, np.array([1, 4]), 1.0)


def check_case(case: Case, engine: Engine) -> None:
    """Compares where no value is near a rounding tie; elsewhere gradients are zero, so that none flows through."""
    near_tie = find_near_ties(case)
    assert near_tie.double().mean() < 0.5
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(near_tie.shape, generator=generator) * ~near_tie
    expected, fused = run_plain(case, gradient), run_fused(case, gradient, engine)
    assert fused.values.shape == expected.values.shape
    assert ((fused.values - expected.values).abs() * ~near_tie).max() < 1e-4
    for name, wanted in expected.gradients.items():
        error = (fused.gradients[name] - wanted).norm()
        assert error <= 1e-3 * wanted.norm() + 1e-6 * gradient.norm(), name
    for given, wanted in ((fused.running_mean, expected.running_mean), (fused.running_var, expected.running_var)):
        assert (given - wanted).norm() <= 1e-6 * wanted.norm()


def run_fused(case: Case, gradient: Tensor, engine: Engine) -> ComputedLayer:
    inputs, norm = copy_inputs(case, torch.float32), copy_norm(case.norm, torch.float32)
    residual = None
    if case.sum_scale is not None:
        residual = Residual(0, code_range(inputs["sum_scale"], case.sum_highest))
    conv = Convolution(QuantizedWeight(inputs["weight"]), case.stride, case.padding, case.is_depthwise)
    activation = Activation(code_range(inputs.get("scale"), case.highest), residual, 1 if residual else case.pool_size)
    out = run_layer(to_blocked(inputs["x"]), conv, norm, activation, engine)
    if residual:
        out = max_pool(out, case.pool_size, engine)
    return finish(from_blocked(out), gradient, inputs, norm)


def run_layer(x: Blocked, conv: Convolution, norm: nn.BatchNorm1d, activation: Activation, engine: Engine) -> Blocked:
    return run_layers(x, [NativeLayer(conv, norm, activation)], engine)


ONE = Convolution(QuantizedWeight(torch.ones(1, 1, 1)), stride=1, padding=0, is_depthwise=False)


def identity_norm() -> nn.BatchNorm1d:
    return nn.BatchNorm1d(1, eps=0.0).eval()


def convolve_with(weight: Tensor) -> Convolution:
    """With stride 1, and without padding."""
    return Convolution(QuantizedWeight(weight), stride=1, padding=0, is_depthwise=False)


def layer_of_codes(weight: Tensor) -> NativeLayer:
    """Four bits; depthwise where the weights are."""
    quantized, is_depthwise = QuantizedWeight(weight, IntegerRange(-7, 7)), weight.shape[1] == 1
    conv = Convolution(quantized, 1, weight.shape[2] // 2, is_depthwise)
    return NativeLayer(conv, nn.BatchNorm1d(len(weight)), Activation(CodeRange(torch.tensor(2.0), 15)))


def code_range(scale: Tensor | None, highest: int) -> CodeRange:
    return CodeRange() if scale is None else CodeRange(scale * highest, highest)
