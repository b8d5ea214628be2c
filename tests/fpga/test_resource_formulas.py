"""The formula gives the published figures.

The rows are those of 0 % pruning at 32 and 8 bits in the results of J. Rothe, "Quantization and Pruning of CNNs for
Efficient FPGA Implementation of Digital Modulation Detection Firmware", Johns Hopkins M.S. thesis (2024). His BRAM
follows from the formula at 32 bits, but for the network 5f_4c, where it gives 40 and he 38.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from fpga.resource_formulas import WeightedLayer, estimate_by_rothe

PUBLISHED = [  # fully connected layers, convolutions, max pools, bits; DSP, FF, LUT, BRAM
    (5, 5, 4, 32, 4520576, 4523497, 3827984, 68),
    (5, 4, 4, 32, 2685568, 2687977, 1730832, None),
    (5, 3, 3, 32, 2488960, 2491113, 1337516, 37),
    (3, 3, 3, 32, 719488, 720361, 452780, 10),
    (3, 2, 2, 32, 670336, 671081, 354376, 10),
    (2, 2, 2, 32, 546176, 546793, 292296, 8),
    (2, 1, 1, 32, 533888, 534441, 267620, 8),
    (5, 5, 4, 8, 1130144, 1130874, 956996, None),
    (3, 3, 3, 8, 179872, 180090, 113195, None),
    (2, 1, 1, 8, 133472, 133610, 66905, None),
]

HIDDEN = {5: (1024, 512, 256, 128, 9), 3: (512, 128, 9), 2: (512, 9)}


def make_vgg_like(n_linear: int, n_convolutions: int, n_max_pools: int, bits: int) -> list[WeightedLayer]:
    """Convolutions k3 of 32, 64, ... filters on 2 x 32 samples, each halved by the first pools, then linear layers."""
    filters = (2, 32, 64, 128, 256, 512)[: n_convolutions + 1]
    features = (filters[-1] * 32 // 2**n_max_pools, *HIDDEN[n_linear])
    return [
        *(WeightedLayer(True, 3 * a * b, bits, b) for a, b in pairwise(filters)),
        *(WeightedLayer(False, a * b, bits, b) for a, b in pairwise(features)),
    ]


@pytest.mark.parametrize(("linear", "convolutions", "pools", "bits", "dsp", "ff", "lut", "bram"), PUBLISHED)
def test_formula_gives_the_published_figures(
    linear: int, convolutions: int, pools: int, bits: int, dsp: int, ff: int, lut: int, bram: int | None
) -> None:
    estimate = estimate_by_rothe(make_vgg_like(linear, convolutions, pools, bits), pools)

    assert (estimate.dsp, estimate.lut) == (dsp, lut)
    assert estimate.ff == pytest.approx(ff, abs=1)
    assert bram is None or estimate.bram_18k == bram


def test_each_layer_counts_with_its_own_bits() -> None:
    layers = [WeightedLayer(True, 320, 8), WeightedLayer(False, 640, 4)]

    estimate = estimate_by_rothe(layers, n_max_pools=0)

    assert estimate.dsp == 2 * (80 + 80)
    assert estimate.lut == 4 * 80 + 80
