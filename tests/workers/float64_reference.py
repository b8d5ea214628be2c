"""The numbers that an exported network holds, evaluated by Brevitas in float64: near enough to exact arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from brevitas.core.scaling import ParameterScaling
from numpy.typing import NDArray

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from workers.functional_quantizers import ActivationQuantizer
from workers.model import QuantizedNetwork, build_model, iterate_mac_modules


@torch.no_grad()
def evaluate_in_float64(model: QuantizedNetwork, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Class scores (n, n_classes), with the scales and codes that the model has in float32."""
    wide = copy.deepcopy(model).double().eval()
    for (_, narrow_layer), (_, wide_layer) in zip(iterate_mac_modules(model), iterate_mac_modules(wide), strict=True):
        quantized: Any = narrow_layer.quant_weight()  # type: ignore[operator]
        codes = torch.round(quantized.value / quantized.scale)
        wide_layer.weight.copy_(codes.double() * quantized.scale.double())
    for (name, narrow_module), (_, wide_module) in zip(model.named_modules(), wide.named_modules(), strict=True):
        if name.endswith("quantizer") and hasattr(narrow_module, "act_quant"):
            quantizer = ActivationQuantizer(name, narrow_module)
            scaling = wide_module.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
            assert quantizer.integers is not None
            if isinstance(scaling, ParameterScaling):
                scaling.value.fill_(quantizer.scale.double() * quantizer.integers.threshold)
    scores: NDArray[np.float64] = wide(torch.from_numpy(samples).double()).numpy()
    return scores


def make_drawn_model(architecture: ArchitectureConfig, seed: int = 0) -> QuantizedNetwork:
    """Batch norms and scales as training may leave them, a third of the gains negative and a few zero."""
    model = build_model(architecture, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.data[::3] *= -1
            parameter.data[::7] = 0
        if parameter.ndim == 0:
            parameter.data.fill_(1.5 + torch.rand((), generator=generator).item())
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(0.1 + torch.rand(buffer.shape, generator=generator))
    return model.eval()


def conv(bits: int, stride: int = 1) -> Conv:
    return Conv(out_channels=6, kernel_size=3, stride=stride, weight_bit_width=bits, activation_bit_width=bits)


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
    "inverted residual": lambda bits: (inverted(bits), MaxPool(kernel_size=2), inverted(max(2, bits - 1))),
    "conv and pool": lambda bits: (conv(bits), MaxPool(kernel_size=2), conv(bits), MaxPool(kernel_size=4)),
    "pools": lambda bits: (MaxPool(kernel_size=2), conv(bits), MaxPool(kernel_size=3)),
    "linear": lambda bits: (
        MaxPool(kernel_size=8),
        Linear(out_features=7, weight_bit_width=bits, activation_bit_width=bits),
        Linear(out_features=9, weight_bit_width=bits, activation_bit_width=bits),
    ),
}


def network(name: str, bits: int) -> ArchitectureConfig:
    """The blocks behind a convolution that gives them six channels, and in front of the class scores."""
    blocks: list[Block] = [InputQuantizer(bit_width=bits), conv(bits), *BLOCKS[name](bits)]
    if name != "linear":
        blocks.append(GlobalPool())
    blocks.append(Linear(out_features=5, weight_bit_width=bits))
    return ArchitectureConfig(blocks=tuple(blocks), frame_length=48, n_classes=5)
