"""A network as a torch module, built from its architecture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig, infer_shapes
from workers.layers import make_block, run_blocks


class QuantizedNetwork(nn.Module):
    """Frames to class scores: (batch, in_channels, frame_length) float32 to (batch, n_classes)."""

    def __init__(self, architecture: ArchitectureConfig) -> None:
        super().__init__()
        shapes = infer_shapes(architecture)
        self.blocks = nn.ModuleList(
            make_block(block, shape) for block, shape in zip(architecture.blocks, shapes, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores, _ = run_blocks(self.blocks, x, None)
        return scores


@dataclass(frozen=True)
class Network:
    """A network in training, and what it is."""

    architecture: ArchitectureConfig
    model: QuantizedNetwork


def build_model(architecture: ArchitectureConfig, seed: int) -> QuantizedNetwork:
    """The network with freshly drawn weights; the same seed gives the same weights. Threads may call at once."""
    with _one_seed_at_a_time, torch.random.fork_rng(devices=[]):  # threads share torch's generator
        torch.manual_seed(seed)
        return QuantizedNetwork(architecture)


_one_seed_at_a_time = threading.Lock()


def iterate_mac_modules(model: QuantizedNetwork) -> Iterator[tuple[str, nn.Conv1d | nn.Linear]]:
    """Name and module of each convolution and fully connected layer, in the order frames pass them."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            yield name, module


@torch.no_grad()
def measure_density(model: QuantizedNetwork) -> dict[str, float]:
    """Fraction of non-zero weights per MAC layer, after weight quantization; 0 to 1."""
    density = {}
    for name, module in iterate_mac_modules(model):
        weight = quantized_weight(module)
        density[name] = torch.count_nonzero(weight).item() / weight.numel()
    return density


def quantizer_step(module: nn.Conv1d | nn.Linear) -> float:
    """Size of one integer step of the layer's weights; 0 in a float layer."""
    quant_weight = getattr(module, "quant_weight", None)
    scale = None if quant_weight is None else getattr(quant_weight(), "scale", None)
    return 0.0 if scale is None else float(scale)


def quantized_weight(module: nn.Conv1d | nn.Linear) -> Tensor:
    """The layer's weights as inference sees them: quantized, or as they are in a float layer."""
    quant_weight = getattr(module, "quant_weight", None)
    if quant_weight is None:
        return module.weight
    weight = quant_weight()
    value: Tensor = getattr(weight, "value", weight)
    return value
