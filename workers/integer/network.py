"""A quantized network in integers alone: exact, and so the same on every device, for any batch size and threads.

Weights and activations are codes; convolutions and linear layers are sums of their products. What follows a layer is a
count of thresholds (workers/integer/thresholds.py). Sums are floats that hold them exactly: float32 on a CPU where no
part of a sum can reach 2**24, else float64.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.functional_quantizers import ActivationQuantizer, IntegerRange
from workers.fused_layers import (
    ClipLayer,
    ConvChain,
    ConvLayer,
    FusedLayer,
    InputLayer,
    LinearLayer,
    PoolLayer,
    list_fused_layers,
)
from workers.integer.steps import Convolution, FullyConnected, Pool, ResidualSum, Step
from workers.integer.threshold_counting import ThresholdCounter, make_counter
from workers.integer.thresholds import Floats, Integers, Quantization, SumRange, find_thresholds
from workers.model import QuantizedNetwork

EXACT_FLOAT32_INTEGERS = 2**24
"""Up to this magnitude float32 holds every integer."""


class NoIntegerFormError(ValueError):
    """A part of the network computes with floats, or with numbers that are not finite."""


@dataclass(frozen=True)
class Codes:
    """What the integers of a quantizer stand for: each one times the scale."""

    integers: IntegerRange
    scale: float


@dataclass(frozen=True)
class IntegerNetwork:
    """Frames as codes to integer class sums."""

    input_codes: Codes
    steps: tuple[Step, ...]
    logit_scale: float
    """Positive. The sums times this are the network's class scores."""
    device: torch.device

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.int8]:
        """The codes of finite samples, of any shape, as the network's input quantizer makes them."""
        integers = self.input_codes.integers
        with np.errstate(over="ignore"):
            codes = np.rint(samples / np.float32(self.input_codes.scale))
        clipped: NDArray[np.int8] = np.clip(codes, integers.lowest, integers.highest).astype(np.int8)
        return clipped

    @torch.no_grad()
    def sum_classes(self, codes: NDArray[np.int8]) -> NDArray[np.int64]:
        """Sums (n, n_classes) of frames (n, in_channels, frame_length). A frame's class is the first of the largest."""
        x = torch.from_numpy(codes).to(self.device).transpose(1, 2).float().contiguous()
        for step in self.steps:
            x = step(x)
        sums: NDArray[np.int64] = x.to(torch.int64).cpu().numpy()
        return sums


@torch.no_grad()
def make_integer_network(model: QuantizedNetwork) -> IntegerNetwork:
    """The network as it is now, in evaluation mode, on the model's device.

    Raises NoIntegerFormError where it has 32-bit weights or activations, no input quantizer, or numbers that are not
    finite. Raises UnsupportedModuleError where it has a module that is not known.
    """
    device = next(model.parameters()).device
    on_cpu = copy.deepcopy(model).cpu().eval()  # so that the codes of weights are the same for every device
    first, *layers = list_fused_layers(on_cpu)
    if not isinstance(first, InputLayer):
        raise NoIntegerFormError("the first layer is given float samples; expected an input_quantizer in front")
    input_codes = codes = _read_codes(first.quantizer)
    steps: list[Step] = []
    for layer in layers:
        made, codes = _make_steps(layer, codes, device)
        steps.extend(made)
    return IntegerNetwork(input_codes, tuple(steps), codes.scale, device)


def _make_steps(layer: FusedLayer, codes: Codes, device: torch.device) -> tuple[tuple[Step, ...], Codes]:
    """The steps that compute the layer from given codes, and what the codes of its output stand for."""
    match layer:
        case ConvChain():
            return _make_chain(layer, codes, device)
        case LinearLayer():
            return _make_linear(layer, codes, device)
        case PoolLayer():
            return (Pool(layer.size),), codes
        case InputLayer() | ClipLayer():
            raise AssertionError("only the first layer reads frames")


def _make_chain(chain: ConvChain, codes: Codes, device: torch.device) -> tuple[tuple[Step, ...], Codes]:
    outputs = [_read_codes(layer.quantizer) for layer in chain.convolutions]
    inputs = [codes, *outputs[:-1]]
    counted = [*outputs[:-1], codes] if chain.is_residual else outputs
    convolutions = tuple(map(_make_convolution, chain.convolutions, inputs, counted, [device] * len(inputs)))
    if not chain.is_residual:
        return convolutions, outputs[-1]
    counter = _make_residual_counter(codes, outputs[-1], convolutions[-1].weight.dtype)
    return (ResidualSum(convolutions, counter.to(device)),), outputs[-1]


def _make_convolution(layer: ConvLayer, inputs: Codes, outputs: Codes, device: torch.device) -> Convolution:
    conv = layer.conv
    weight, counter = _make_counted(conv, layer.norm, inputs, outputs, device)
    return Convolution(weight, conv.stride[0], conv.groups, counter)


def _make_linear(layer: LinearLayer, codes: Codes, device: torch.device) -> tuple[tuple[Step, ...], Codes]:
    if layer.norm is not None and layer.quantizer is not None:
        outputs = _read_codes(layer.quantizer)
        weight, counter = _make_counted(layer.linear, layer.norm, codes, outputs, device)
        return (FullyConnected(weight, counter),), outputs
    integers, scale = _read_weight(layer.linear)
    sums = _bound_sums(integers, codes.integers)
    weight = torch.from_numpy(integers).to(device, _choose_type(sums, device))
    largest = sums.largest_magnitude
    return (FullyConnected(weight, None),), Codes(IntegerRange(-largest, largest), codes.scale * scale)


def _make_counted(
    layer: nn.Conv1d | nn.Linear, norm: nn.BatchNorm1d, inputs: Codes, outputs: Codes, device: torch.device
) -> tuple[Tensor, ThresholdCounter]:
    """The weights, negated in channels where batch norm's gain is negative, and the counter behind them."""
    integers, scale = _read_weight(layer)
    parameters = norm.weight, norm.bias, norm.running_mean, norm.running_var
    gain, bias, mean, variance = map(_read_floats, parameters)
    direction = np.where(gain < 0, -1, 1)
    integers *= direction.reshape(-1, *[1] * (integers.ndim - 1))
    sums = _bound_sums(integers, inputs.integers)
    quantization = Quantization(
        step=Fraction(inputs.scale) * Fraction(scale),
        gain=np.abs(gain),
        bias=bias,
        mean=mean * direction,
        variance=variance + norm.eps,
        quantizer_step=outputs.scale,
        highest_code=outputs.integers.highest,
    )
    sums_type = _choose_type(sums, device)
    counter = make_counter(find_thresholds(quantization, sums), quantization.slope, sums, sums_type)
    return torch.from_numpy(integers).to(device, sums_type), counter.to(device)


def _make_residual_counter(added: Codes, outputs: Codes, sums_type: torch.dtype) -> ThresholdCounter:
    """Counts for sums of two codes of one unsigned quantizer."""
    one, zero = np.ones(1), np.zeros(1)
    quantization = Quantization(Fraction(added.scale), one, zero, zero, one, outputs.scale, outputs.integers.highest)
    sums = SumRange(np.zeros(1, np.int64), np.array([2 * added.integers.highest]))
    return make_counter(find_thresholds(quantization, sums), quantization.slope, sums, sums_type)


def _bound_sums(weight: Integers, inputs: IntegerRange) -> SumRange:
    """Over all inputs in range. Zero is one of them, so parts of a sum lie in the range as well."""
    rows = weight.reshape(len(weight), -1)
    positive, negative = rows.clip(min=0).sum(axis=1), rows.clip(max=0).sum(axis=1)
    return SumRange(
        positive * inputs.lowest + negative * inputs.highest, positive * inputs.highest + negative * inputs.lowest
    )


def _choose_type(sums: SumRange, device: torch.device) -> torch.dtype:
    """On a GPU, libraries may multiply float32 by transforms or with shortened factors, which is not exact."""
    is_exact = device.type == "cpu" and sums.largest_magnitude < EXACT_FLOAT32_INTEGERS
    return torch.float32 if is_exact else torch.float64


def _read_codes(quantizer: ActivationQuantizer) -> Codes:
    if quantizer.integers is None:
        raise NoIntegerFormError("an activation has 32 bits; expected at most 8")
    scale = float(_read_floats(quantizer.scale))
    if scale == 0:
        raise NoIntegerFormError("the scale of an activation is 0; expected a positive number")
    return Codes(quantizer.integers, scale)


def _read_weight(layer: nn.Conv1d | nn.Linear) -> tuple[Integers, float]:
    """Integers in the shape of the layer's weights, and their scale."""
    module: Any = layer
    if not (hasattr(module, "weight_quant") and module.weight_quant.is_quant_enabled):
        raise NoIntegerFormError("a layer has 32-bit weights; expected at most 8 bits")
    quantized = module.quant_weight()
    scale = _read_floats(quantized.scale)
    return np.rint(_read_floats(quantized.value) / scale).astype(np.int64), float(scale)


def _read_floats(values: Tensor | None) -> Floats:
    assert values is not None
    floats: Floats = values.detach().double().numpy()
    if not np.isfinite(floats).all():
        raise NoIntegerFormError("a weight, scale or batch norm of the network is not finite")
    return floats
