"""Resource estimates by a published formula, for comparison with its source; FINN's estimates are something else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage.hardware_reports import Resources

WEIGHTS_PER_BRAM = 32_768
"""Of 32 bits each, as in the formula."""


@dataclass(frozen=True)
class WeightedLayer:
    """A convolution or linear layer, as the formula sees it."""

    is_convolution: bool
    n_weights: int
    """Those that are not zero."""
    bits: int
    """Of a weight."""
    n_biases: int = 0


def estimate_by_rothe(layers: Iterable[WeightedLayer], n_max_pools: int) -> Resources:
    """Algorithm II of J. Rothe, "Quantization and Pruning of CNNs for Efficient FPGA Implementation of Digital
    Modulation Detection Firmware", Johns Hopkins M.S. thesis (2024).

    With b bits, W_c and W_l weights of convolutions and linear layers, B biases, M max pools: DSP = 2 b/32 (W_c + W_l),
    FF = DSP + B b/32, LUT = b/32 (4 W_c + W_l) + M floor(100 b/32), BRAM = sum of floor(b/32 weights / 32768). His
    networks have one b for all layers; here each layer counts with its own, and the pools with their mean.
    """
    layers = list(layers)
    dsp = sum(2 * layer.bits / 32 * layer.n_weights for layer in layers)
    lut = sum(layer.bits / 32 * layer.n_weights * (4 if layer.is_convolution else 1) for layer in layers)
    mean_bits = sum(layer.bits for layer in layers) / max(len(layers), 1)
    return Resources(
        lut=round(lut + int(mean_bits / 32 * 100) * n_max_pools),
        ff=round(dsp + sum(layer.bits / 32 * layer.n_biases for layer in layers)),
        bram_18k=sum(layer.bits * layer.n_weights // 32 // WEIGHTS_PER_BRAM for layer in layers),
        uram=0,
        dsp=round(dsp),
    )
