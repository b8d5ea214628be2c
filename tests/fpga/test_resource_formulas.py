"""The formula gives the published figures.

The rows are those of 0 % pruning, at 32, 8, 6 and 4 bits, in the results of J. Rothe, "Quantization and Pruning of CNNs
for Efficient FPGA Implementation of Digital Modulation Detection Firmware", Johns Hopkins M.S. thesis (2024). His BRAM
follows from the formula at 32 bits, but for the network 5f_4c, where it gives 40 and he 38.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from fpga.resource_formulas import WeightedLayer, estimate_by_rothe
from workers.benchmarks.inference_speed import read_unpruned

BRAM_EXCEPTIONS = {"vgglike_5f_4c_4re_4mp"}


HIDDEN = {5: (1024, 512, 256, 128, 9), 3: (512, 128, 9), 2: (512, 9)}


def make_vgg_like(n_linear: int, n_convolutions: int, n_max_pools: int, bits: int) -> list[WeightedLayer]:
    """Convolutions k3 of 32, 64, ... filters on 2 x 32 samples, each halved by the first pools, then linear layers."""
    filters = (2, 32, 64, 128, 256, 512)[: n_convolutions + 1]
    features = (filters[-1] * 32 // 2**n_max_pools, *HIDDEN[n_linear])
    return [
        *(WeightedLayer(True, 3 * a * b, bits, b) for a, b in pairwise(filters)),
        *(WeightedLayer(False, a * b, bits, b) for a, b in pairwise(features)),
    ]


@pytest.mark.parametrize("row", read_unpruned(), ids=lambda row: row["model"])
def test_formula_gives_the_published_figures(row: dict[str, str]) -> None:
    linear, convolutions, pools, bits = (
        int(row[key]) for key in ("fc_layers", "conv_layers", "maxpool_layers", "bits")
    )
    estimate = estimate_by_rothe(make_vgg_like(linear, convolutions, pools, bits), pools)

    assert (estimate.dsp, estimate.lut) == (int(row["dsp"]), int(row["lut"]))
    assert estimate.ff == pytest.approx(int(row["ff"]), abs=1)
    if bits == 32 and row["model"] not in BRAM_EXCEPTIONS:
        assert estimate.bram_18k == int(row["bram"])


def test_each_layer_counts_with_its_own_bits() -> None:
    layers = [WeightedLayer(True, 320, 8), WeightedLayer(False, 640, 4)]

    estimate = estimate_by_rothe(layers, n_max_pools=0)

    assert estimate.dsp == 2 * (80 + 80)
    assert estimate.lut == 4 * 80 + 80
