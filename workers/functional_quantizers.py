"""The quantizers of `workers.layers` as functions of tensors, on the parameters that Brevitas owns.

Gradients are Brevitas's. Rounding passes them on (straight-through). The clamp of an activation stops them; that of a
weight does not. The gradient of a weight's scale goes to the weight of largest magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from brevitas.core.bit_width import BitWidthConst
from brevitas.core.function_wrapper import Identity, OverTensorView, RoundSte, TensorClamp, TensorClampSte
from brevitas.core.quant import IntQuant, RescalingIntQuant
from brevitas.core.quant.delay import _NoDelay
from brevitas.core.restrict_val import FloatRestrictValue
from brevitas.core.scaling import ConstScaling, ParameterScaling, StatsFromParameterScaling
from brevitas.core.stats import AbsMax
from brevitas.core.zero_point import ZeroZeroPoint
from torch import Tensor, nn
from torch.nn import functional as F

MIN_WEIGHT_SCALE_THRESHOLD = 1e-10
"""The least magnitude that Brevitas makes a weight's scale from (scaling_min_val of Int8WeightPerTensorFloat)."""


class UnsupportedModuleError(ValueError):
    """The functional network does not know a module of the model; the message names it."""


@dataclass(frozen=True)
class IntegerRange:
    """The integers of a quantizer, both ends included; `highest` is odd and `lowest` even where it is not -highest."""

    lowest: int
    highest: int

    @property
    def threshold(self) -> int:
        """Brevitas divides the range in floats by this number: that is the scale."""
        return self.highest if self.lowest == 0 else -self.lowest


class ActivationQuantizer:
    """ReLU or nothing, then integers with a trained or constant scale; at 32 bits ReLU alone (`integers` is None).

    The trained scale is looked up at each use, because Brevitas makes a new parameter when a state is loaded.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        clip: nn.Hardtanh | None = None
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Hardtanh):
            clip, module = module[0], module[1]
        self._name, self._module = name, module
        self.is_relu = isinstance(module, nn.ReLU)
        self.integers: IntegerRange | None = None
        if not self.is_relu:
            self.is_relu = isinstance(self._proxy.activation_impl, nn.ReLU)
            self.integers = _read_integers(
                name, self._proxy.tensor_quant, TensorClamp, (ConstScaling, ParameterScaling)
            )
            self._steps = self.integers.threshold
            if clip is not None:  # rounding keeps the order: what is clipped before is clipped to the same integer
                lowest = round(float(clip.min_val / self.scale))
                self.integers = IntegerRange(max(self.integers.lowest, lowest), self.integers.highest)

    @property
    def scale(self) -> Tensor:
        """Size of one integer step: a scalar, with gradient to the trained parameter."""
        assert self.integers is not None
        return self.range.abs() / self._steps

    @property
    def range(self) -> Tensor:
        """The scalar whose magnitude is `integers.threshold` steps: the trained parameter, or a constant."""
        scaling = self._proxy.tensor_quant.scaling_impl
        value: Tensor = scaling.value if isinstance(scaling, ParameterScaling) else scaling.value()
        return value

    def __call__(self, x: Tensor) -> Tensor:
        """The quantized values, as Brevitas dequantizes them; any shape."""
        x = F.relu(x) if self.is_relu else x
        if self.integers is None:
            return x
        values: Tensor = _FakeQuantizeActivation.apply(x, self.scale, self.integers)  # type: ignore[no-untyped-call]
        return values

    @property
    def _proxy(self) -> Any:
        module: Any = self._module
        proxy = getattr(getattr(module, "act_quant", None), "fused_activation_quant_proxy", None)
        if proxy is None or module.input_quant.is_quant_enabled:
            kind = type(module).__name__
            raise UnsupportedModuleError(f"{self._name} is {kind}; expected ReLU, QuantReLU or QuantIdentity")
        return proxy


class WeightQuantizer:
    """The weights of a MAC layer as inference uses them: quantized, or unchanged in a float layer."""

    def __init__(self, name: str, module: nn.Conv1d | nn.Linear) -> None:
        self._module = module
        self.integers: IntegerRange | None = None
        if module.bias is not None:
            raise UnsupportedModuleError(f"{name} has a bias; expected none")
        for quantizer in ("input_quant", "output_quant"):
            if getattr(getattr(module, quantizer, None), "is_quant_enabled", False):
                raise UnsupportedModuleError(f"{name} has an {quantizer} of its own; expected none")
        proxy: Any = getattr(module, "weight_quant", None)
        if proxy is not None and proxy.is_quant_enabled:
            self.integers = _read_integers(name, proxy.tensor_quant, TensorClampSte, (StatsFromParameterScaling,))

    @property
    def parameter(self) -> Tensor:
        """The weights before quantization."""
        return self._module.weight

    def __call__(self) -> Tensor:
        """The layer's weights, quantized; the shape of its parameter, with gradient to it."""
        weight = self.parameter
        if self.integers is None:
            return weight
        largest = torch.max(torch.abs(weight))  # its gradient is shared among weights of equal magnitude
        scale = _clamp_min_straight_through(largest, MIN_WEIGHT_SCALE_THRESHOLD) / self.integers.threshold
        values: Tensor = _FakeQuantizeWeight.apply(weight, scale, self.integers)  # type: ignore[no-untyped-call]
        return values


class RoundToIntegers(torch.autograd.Function):
    """Rounds and clamps a ReLU's input in units of the scale. Gradients pass inside the range only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, integers: IntegerRange) -> Tensor:
        ctx.save_for_backward(x)
        ctx.integers = integers
        return torch.clamp(x, integers.lowest, integers.highest).round_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return pass_inside_range(gradient, x, ctx.integers, torch.empty_like(x)), None


def pass_inside_range(gradient: Tensor, x: Tensor, integers: IntegerRange, out: Tensor) -> Tensor:
    """Writes the gradient to `out` where x > 0 rounds to the highest integer at most, else 0; returns `out`.

    The highest integer is odd, so the tie above it rounds up, out of the range.
    """
    passed: Tensor = torch.ops.aten.hardtanh_backward.grad_input(
        gradient, x, 0.0, integers.highest + 0.5, grad_input=out
    )
    return passed


class _FakeQuantizeActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, integers: IntegerRange) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.integers = integers
        return (x / scale).round_().clamp_(integers.lowest, integers.highest).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, scale = ctx.saved_tensors
        integers: IntegerRange = ctx.integers
        steps = x / scale
        rounded = steps.round()
        is_inside = (rounded >= integers.lowest).logical_and_(rounded <= integers.highest)
        x_gradient = gradient * is_inside
        if not ctx.needs_input_grad[1]:
            return x_gradient, None, None
        rounding_errors = rounded.clamp_(integers.lowest, integers.highest).sub_(steps.mul_(is_inside))
        return x_gradient, torch.dot(gradient.flatten(), rounding_errors.flatten()), None


class _FakeQuantizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, integers: IntegerRange) -> Tensor:
        steps = weight / scale
        rounded = steps.round().clamp_(integers.lowest, integers.highest)
        ctx.save_for_backward(rounded - steps)
        return rounded.mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (rounding_errors,) = ctx.saved_tensors
        return gradient, (gradient * rounding_errors).sum(), None


def _clamp_min_straight_through(x: Tensor, lowest: float) -> Tensor:
    return x + (x.detach().clamp_min(lowest) - x.detach())


def _read_integers(
    name: str, quantizer: Any, clamp: type[nn.Module], scalings: tuple[type[nn.Module], ...]
) -> IntegerRange:
    """The integers of Brevitas's quantizer. Raises UnsupportedModuleError where a part of it is of another type."""
    _require(name, quantizer, RescalingIntQuant)
    integer_part, scaling = quantizer.int_quant, quantizer.scaling_impl
    _require(name, integer_part, IntQuant)
    _require(name, integer_part.float_to_int_impl, RoundSte)
    _require(name, integer_part.tensor_clamp_impl, clamp)
    _require(name, integer_part.delay_wrapper.delay_impl, _NoDelay)
    _require(name, quantizer.zero_point_impl, ZeroZeroPoint)
    _require(name, quantizer.msb_clamp_bit_width_impl, BitWidthConst)
    _require(name, scaling, *scalings)
    if isinstance(scaling, StatsFromParameterScaling):
        _require(name, scaling.parameter_list_stats.stats.stats_impl, AbsMax)
        _require(name, scaling.parameter_list_stats.first_tracked_param.view_shape_impl, OverTensorView)
        scaling = scaling.stats_scaling_impl
        _require(name, scaling.affine_rescaling, Identity)
    else:
        _require(name, scaling.restrict_clamp_scaling.clamp_ste, Identity)
    _require(name, scaling.restrict_clamp_scaling.restrict_value_impl, FloatRestrictValue)
    bit_width = quantizer.msb_clamp_bit_width_impl()
    return IntegerRange(int(integer_part.min_int(bit_width)), int(integer_part.max_int(bit_width)))


def _require(name: str, found: object, *expected: type) -> None:
    if type(found) not in expected:
        allowed = " or ".join(kind.__name__ for kind in expected)
        raise UnsupportedModuleError(f"{name} is quantized with {type(found).__name__}; expected {allowed}")
