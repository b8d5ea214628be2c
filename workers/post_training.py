"""Quantization of a network that was trained in float32: weights are rounded, activations get calibrated ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from brevitas.core.scaling import ParameterScaling
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig
from storage.dataset.frames import Frames
from workers.checkpoint import load_state
from workers.model import Network, QuantizedNetwork, build_model

BATCH_SIZE = 256


def quantize_trained(
    network: Network, architecture: ArchitectureConfig, frames: Frames, n_frames: int, seed: int
) -> Network:
    """The float network with the bit widths of this architecture, which is the same one otherwise.

    Weights and batch norms are taken over; the weights' ranges follow from them. The range of each activation is what
    it reaches on `n_frames` training frames, drawn with the seed: scales are per tensor and zero points are 0, as FINN
    needs. An affine quantizer of a ReLU's output would have the same zero point.
    """
    model = build_model(architecture, seed=0).to(next(network.model.parameters()).device)
    own = model.state_dict()
    load_state(model, {name: network.model.state_dict().get(name, tensor) for name, tensor in own.items()})
    ranges = _measure_ranges(network.model, model, frames, n_frames, seed)
    for name, largest in ranges.items():
        scaling = _find_scaling(model.get_submodule(name))
        assert scaling is not None  # its range was asked for
        with torch.no_grad():
            scaling.value.fill_(largest)
    return Network(architecture, model)


@torch.no_grad()
def _measure_ranges(
    trained: QuantizedNetwork, quantized: QuantizedNetwork, frames: Frames, n_frames: int, seed: int
) -> dict[str, float]:
    """Largest magnitude that leaves each activation of the float network which the other one quantizes, by name."""
    names = [name for name, module in quantized.named_modules() if _find_scaling(module) is not None]
    ranges = dict.fromkeys(names, 0.0)
    hooks = [trained.get_submodule(name).register_forward_hook(_note(ranges, name)) for name in names]
    order = np.random.default_rng(seed).permutation(len(frames))[:n_frames]
    trained.eval()
    device = next(trained.parameters()).device
    for start in range(0, len(order), BATCH_SIZE):
        trained(torch.from_numpy(frames.gather(np.sort(order[start : start + BATCH_SIZE]))).to(device))
    for hook in hooks:
        hook.remove()
    return {name: largest for name, largest in ranges.items() if largest > 0}  # others give nothing but zeros


def _note(ranges: dict[str, float], name: str) -> Any:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        ranges[name] = max(ranges[name], float(output.abs().max()))

    return hook


def _find_scaling(module: nn.Module) -> ParameterScaling | None:
    """Of an activation quantizer with a range of its own; None for all other modules."""
    proxy: Any = getattr(getattr(module, "act_quant", None), "fused_activation_quant_proxy", None)
    scaling = getattr(getattr(proxy, "tensor_quant", None), "scaling_impl", None)
    return scaling if isinstance(scaling, ParameterScaling) else None
