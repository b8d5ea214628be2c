"""Study files of published systems: what follows from arithmetic is what was published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from spaces.architecture import ArchitectureConfig
from spaces.study_config import load_study_config
from workers.inference_cost import count_cost, list_mac_layers, score_inference_cost

SPACES = Path(__file__).parents[2] / "spaces"

HAKIMI = "space.blocks[1].one_of"


def network(study: str, values: Mapping[str, object] | None = None) -> ArchitectureConfig:
    space = load_study_config(SPACES / f"{study}.yaml").search_space
    return space.suggest(FixedTrial(dict(values or {}))).architecture


@pytest.mark.parametrize(("bits", "published"), [(32, 30.42), (8, 7.25)])
def test_mobilenetv3_costs_what_bacalhaunets_report_says(bits: int, published: float) -> None:
    """Rosa et al., "BacalhauNet", ITU AI/ML in 5G Challenge PS-007 report (2021)."""
    cost = count_cost(network("mobilenetv3_small", {"bits": bits}), {}).inference_cost
    assert cost == pytest.approx(published, rel=0.03)
    if bits == 32:
        assert round(cost, 2) == published


@pytest.mark.parametrize(
    ("variant", "macs", "parameters"),
    [
        ("original", 8_127_520, (272, 3096, 6176, 12336, 24640, 49248)),
        ("optimized", 2_491_776, (144, 792, 1568, 3120, 6208, 12384, 24704)),
    ],
)
def test_hakimis_networks_have_the_published_sizes(variant: str, macs: int, parameters: tuple[int, ...]) -> None:
    """A. Hakimi, "Compression Technique for an Automatic Modulation Recognition CNN model", INRS.

    Published are 2,491,798 multiply-accumulates of the optimized one, 22 more than its convolutions and its linear
    layer have. The parameters are weights and biases, in float32 of 0.3694 and 0.19203 MiB.
    """
    layers = list_mac_layers(
        network("hakimi_cnn", {HAKIMI: variant, "bits": 32, "training.kind": "quantization_aware"})
    )
    assert sum(layer.macs for layer in layers) == macs
    channels = (16, 24, 32, 48, 64, 96, 128)
    assert tuple(la.weights + n for la, n in zip(layers, channels[: len(parameters)], strict=False)) == parameters
    of_last = layers[-1].weights + 11
    assert of_last == 11 * (channels[len(parameters) - 1] + 1)
    memory = 4 * (sum(parameters) + of_last) / 2**20
    assert memory == pytest.approx({"original": 0.3694, "optimized": 0.19203}[variant], abs=5e-5)


def test_aaronnets_scores_follow_from_its_published_counts() -> None:
    """Models/AaronNet32_cost.json of https://github.com/ITU-AI-ML-in-5G-Challenge/ITU-ML5G-PS-007-Aaronica.

    Zero weights are discounted there. So the counts are below those of the dense network, which would have 0.0614. Half
    a kernel of zeros on both sides lets the stem give 257 samples, where ours gives 256.
    """
    macs = {"float, 6 bits": 47_548, "signed 6, 6 bits": 406_060, "unsigned 6, 6 bits": 557_462}
    of_float = macs["float, 6 bits"]
    bit_ops = 32 * 6 * of_float + 36 * (sum(macs.values()) - of_float)
    assert bit_ops == 43_816_008
    assert score_inference_cost(bit_ops, 6 * 12_491) == pytest.approx(0.057224, abs=5e-7)
    layers = list_mac_layers(network("aaronnet"))
    assert 12_491 <= sum(layer.weights for layer in layers) == 13_302
    stem = [layer for layer in layers if layer.name.endswith(".0.conv")]
    assert 406_060 <= sum(layer.macs for layer in stem) / 256 * 257 == 429_704


def test_imp_leaves_as_many_weights_as_ten_prunings_of_a_fifth() -> None:
    """The A(MC) Team, "Lightning-Fast Modulation Classification with Hardware-Efficient Neural Networks" (2021).

    VGG10 with 4 bits has 636,416 weight bits. Ten prunings of 20 % leave 10.74 %, 68,334; published are 68,072.
    """
    dense = count_cost(network("amc_imp", {"rewind": "nothing"}), {})
    assert dense.weight_bits == 636_416
    left = 0.8**10
    assert 1 - left == pytest.approx(0.8926, abs=5e-5)
    assert dense.weight_bits * left == pytest.approx(68_072, rel=0.005)
    assert score_inference_cost(24_436_576, 68_072) == pytest.approx(0.042467, abs=5e-7)
