"""Fused layers drawn at random, and what they compute in double precision as a plain composition of torch functions."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TIE_MARGIN = 2e-4
"""Relative distance from a rounding tie below which float and double may give different codes."""


@dataclass(frozen=True)
class Case:
    """One fused layer and its inputs."""

    x: Tensor
    weight: Tensor
    norm: nn.BatchNorm1d
    scale: Tensor | None
    highest: int
    sum_scale: Tensor | None
    """With it, `x` is added to the quantized values, and the sum is quantized again."""
    sum_highest: int
    stride: int
    padding: int
    is_depthwise: bool
    pool_size: int

    @property
    def out_length(self) -> int:
        return (self.x.shape[2] + 2 * self.padding - self.weight.shape[2]) // self.stride + 1


@dataclass(frozen=True)
class ComputedLayer:
    """The layer's values (batch, channels, length), and the gradients of all it was given."""

    values: Tensor
    gradients: dict[str, Tensor]
    running_mean: Tensor
    running_var: Tensor


def draw_case(drawn: random.Random) -> Case:
    is_depthwise = drawn.random() < 0.4
    in_channels = drawn.randint(1, 64)
    out_channels = in_channels if is_depthwise else drawn.randint(1, 64)
    kernel_size = drawn.choice([1, 1, 2, 3, 3, 5, 8, 9, 15, 21, 41])
    padding = drawn.choice([0, kernel_size // 2, kernel_size // 2, drawn.randint(0, kernel_size + 3)])
    shape = drawn.randint(2, 70), in_channels, drawn.randint(max(2, kernel_size - 2 * padding), 120)
    stride, bit_width = drawn.randint(1, 4), drawn.choice([*range(2, 9), 32])
    pool_size = drawn.choice([1, 1, 2, 3])
    is_training = drawn.random() < 0.8
    has_residual = drawn.random() < 0.4
    if has_residual:  # the sum has the shape of x
        kernel_size, stride, out_channels = kernel_size // 2 * 2 + 1, 1, in_channels
        padding = kernel_size // 2
    out_length = (shape[2] + 2 * padding - kernel_size) // stride + 1
    if pool_size > out_length or bit_width == 32:  # without codes, float and double have no equals in common
        pool_size = 1
    return make_case(
        drawn,
        shape,
        out_channels,
        kernel_size,
        stride,
        padding,
        is_depthwise,
        bit_width,
        has_residual,
        pool_size,
        is_training,
    )


def make_case(
    drawn: random.Random,
    shape: tuple[int, int, int],
    out_channels: int,
    kernel_size: int,
    stride: int,
    padding: int,
    is_depthwise: bool,
    bit_width: int,
    has_residual: bool,
    pool_size: int,
    is_training: bool,
) -> Case:
    torch.manual_seed(drawn.randrange(2**31))
    norm = nn.BatchNorm1d(out_channels).train(is_training)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias, -0.5, 0.8)
    weight_shape = out_channels, 1 if is_depthwise else shape[1], kernel_size
    scale = None if bit_width == 32 else torch.tensor(drawn.uniform(2, 4) / (2**bit_width - 1))
    return Case(
        x=torch.randint(0, 16, shape).float() * 0.11,
        weight=torch.randint(-7, 8, weight_shape).float() * 0.05,
        norm=norm,
        scale=scale,
        highest=0 if scale is None else 2**bit_width - 1,
        sum_scale=torch.tensor(drawn.uniform(2, 4) / 31) if has_residual else None,
        sum_highest=31,
        stride=stride,
        padding=padding,
        is_depthwise=is_depthwise,
        pool_size=pool_size,
    )


def run_plain(case: Case, gradient: Tensor) -> ComputedLayer:
    inputs, norm = copy_inputs(case, torch.float64), copy_norm(case.norm, torch.float64)
    values = compose(case, inputs, norm)[-1]
    return finish(F.max_pool1d(values, case.pool_size), gradient.double(), inputs, norm)


def find_near_ties(case: Case) -> Tensor:
    """Where some value behind the result is near a rounding tie or near zero."""
    with torch.no_grad():
        inputs, norm = copy_inputs(case, torch.float64), copy_norm(case.norm, torch.float64)
        normalized, before_sum_quantizer, _ = compose(case, inputs, norm)
    near = is_near_tie(normalized, case.scale)
    if case.sum_scale is not None:
        near |= is_near_tie(before_sum_quantizer, case.sum_scale)
    return F.max_pool1d(near.double(), case.pool_size) > 0


def is_near_tie(x: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        return x.abs() < TIE_MARGIN
    steps = x / scale
    return ((steps - steps.floor() - 0.5).abs() < TIE_MARGIN * (1 + steps.abs())) | (x.abs() < TIE_MARGIN)


def compose(case: Case, inputs: dict[str, Tensor], norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor, Tensor]:
    """In front of the first quantizer, in front of the last, and behind it."""
    groups = case.x.shape[1] if case.is_depthwise else 1
    z = F.conv1d(inputs["x"], inputs["weight"], stride=case.stride, padding=case.padding, groups=groups)
    normalized = norm(z)
    values = quantize(normalized, inputs.get("scale"), case.highest)
    if case.sum_scale is None:
        return normalized, normalized, values
    total = inputs["x"] + values
    return normalized, total, quantize(total, inputs["sum_scale"], case.sum_highest)


def quantize(x: Tensor, scale: Tensor | None, highest: int) -> Tensor:
    """Brevitas's formula: the rounding passes gradients, the clamp stops them."""
    if scale is None:
        return F.relu(x)
    steps = F.relu(x) / scale
    codes = steps + (steps.round() - steps).detach()
    return torch.where(codes > highest, torch.tensor(float(highest), dtype=x.dtype), codes) * scale


def copy_inputs(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    names = ("x", "weight", "scale", "sum_scale")
    given = {name: getattr(case, name) for name in names}
    return {
        name: value.detach().to(dtype).clone().requires_grad_() for name, value in given.items() if value is not None
    }


def copy_norm(norm: nn.BatchNorm1d, dtype: torch.dtype) -> nn.BatchNorm1d:
    copy = nn.BatchNorm1d(norm.num_features).to(dtype).train(norm.training)
    copy.load_state_dict(norm.state_dict())
    return copy


def finish(values: Tensor, gradient: Tensor, inputs: dict[str, Tensor], norm: nn.BatchNorm1d) -> ComputedLayer:
    torch.autograd.backward(values, gradient)
    leaves = inputs | {"gamma": norm.weight, "beta": norm.bias}
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    assert gradients.keys() == leaves.keys()
    return ComputedLayer(values.detach(), gradients, norm.running_mean, norm.running_var)
