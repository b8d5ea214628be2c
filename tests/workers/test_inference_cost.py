"""The cost against the papers' numbers, and against QONNX on exported files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from qonnx.util.inference_cost import inference_cost

from spaces.architecture import ArchitectureConfig
from spaces.blocks import (
    Block,
    Conv,
    DepthwiseSeparable,
    GlobalPool,
    HardTanh,
    InputQuantizer,
    InvertedResidual,
    Linear,
    MaxPool,
    Parallel,
)
from workers.inference_cost import count_cost, count_layer_costs, list_mac_layers, main, score_qonnx_file
from workers.model import build_model, iterate_mac_modules, measure_density
from workers.pruning import keep_from_epsilon, prune_once
from workers.qonnx_export import write_qonnx

ARCHITECTURES_FILE = Path(__file__).with_name("bacalhaunet_architectures.csv")
"""Rosa et al., "BacalhauNet", ITU AI/ML in 5G Challenge PS-007 report (2021), figure 4a: 15 float32 architectures."""

CLASSIFIER = Linear(out_features=24, weight_bit_width=5)


def dsc(kernel_size: int, stride: int, channels: int, bits: int = 32, residual: bool | None = None) -> Block:
    return DepthwiseSeparable(
        kernel_size=kernel_size,
        stride=stride,
        out_channels=channels,
        weight_bit_width=bits,
        activation_bit_width=bits,
        residual=residual,
    )


def vgg10(bits: int) -> ArchitectureConfig:
    conv = Conv(out_channels=64, kernel_size=3, weight_bit_width=bits, activation_bit_width=bits)
    hidden = Linear(out_features=128, weight_bit_width=bits, activation_bit_width=bits)
    return ArchitectureConfig(
        blocks=(
            InputQuantizer(bit_width=8, clip=2.0),
            *(block for _ in range(7) for block in (conv, MaxPool(kernel_size=2))),
            hidden,
            hidden,
            Linear(out_features=24, weight_bit_width=bits),
        )
    )


def published_rows() -> list[dict[str, str]]:
    rows = list(csv.DictReader(ARCHITECTURES_FILE.open()))
    assert len(rows) == 15
    return rows


@pytest.mark.parametrize(
    "row", published_rows(), ids=lambda row: f"{row['kernels']}s{row['strides']}c{row['channels']}"
)
def test_published_architectures_have_their_published_cost(row: dict[str, str]) -> None:
    kernels, strides, channels = ([int(v) for v in row[key].split("-")] for key in ("kernels", "strides", "channels"))
    blocks = [dsc(k, s, c) for k, s, c in zip(kernels, strides, channels, strict=True)]
    architecture = ArchitectureConfig(blocks=(*blocks, GlobalPool(), Linear(out_features=24, weight_bit_width=32)))
    assert round(count_cost(architecture, {}).inference_cost, 3) == float(row["inference_cost_float32"])


def test_float_bacalhaunet_costs_what_its_paper_says() -> None:
    """1.4155: Rosa et al., ITU J-FET (dense arithmetic gives 1.41546)."""
    blocks = (dsc(27, 2, 24), dsc(21, 1, 24), dsc(15, 2, 48), dsc(9, 1, 48), dsc(9, 2, 48))
    architecture = ArchitectureConfig(blocks=(*blocks, GlobalPool(), Linear(out_features=24, weight_bit_width=32)))
    assert count_cost(architecture, {}).inference_cost == pytest.approx(1.41546, abs=5e-6)


def test_dense_vgg10_of_8_bits_has_its_known_bit_ops_and_weight_bits() -> None:
    """823,328,768 bit-ops and 1,272,832 weight bits: QONNX's RadioML_VGG10 without its zero weights discounted."""
    cost = count_cost(vgg10(8), {})
    assert (cost.bit_ops, cost.weight_bits) == (823_328_768, 1_272_832)


def test_published_scores_follow_from_their_bit_ops_and_weight_bits() -> None:
    """The winner's, the second's and the baseline's rows of the ITU PS-007 results."""
    from workers.inference_cost import score_inference_cost

    assert score_inference_cost(19_242_864, 10_704) == pytest.approx(0.016211, abs=5e-7)
    assert score_inference_cost(24_436_576, 68_072) == pytest.approx(0.042467, abs=5e-7)
    assert score_inference_cost(13_068_840, 18_960) == pytest.approx(0.015705, abs=5e-7)
    assert score_inference_cost(807_699_904, 1_244_936) == 1.0


QUANTIZED_NETWORKS = {
    "conv": (
        InputQuantizer(),
        Conv(out_channels=8, kernel_size=5, stride=2, weight_bit_width=4, activation_bit_width=3),
    ),
    "conv and max pool": (
        InputQuantizer(bit_width=6, clip=2.0),
        Conv(out_channels=6, kernel_size=3, weight_bit_width=3, activation_bit_width=4),
        MaxPool(kernel_size=8),
    ),
    "depthwise separable": (InputQuantizer(), dsc(9, 4, 8, 6), dsc(7, 2, 12, 4)),
    "residual": (InputQuantizer(), dsc(9, 4, 8, 5), dsc(7, 1, 8, 6), dsc(5, 1, 8, 3)),
    "inverted residual": (
        InputQuantizer(),
        dsc(9, 8, 8, 5),
        InvertedResidual(out_channels=8, kernel_size=5, expansion=2, weight_bit_width=4, activation_bit_width=5),
        InvertedResidual(
            out_channels=12, kernel_size=5, stride=2, expansion=3, weight_bit_width=6, activation_bit_width=4
        ),
    ),
    "hidden linear": (
        InputQuantizer(),
        dsc(9, 8, 8, 5),
        MaxPool(kernel_size=4),
        Linear(out_features=16, weight_bit_width=3, activation_bit_width=7),
    ),
    "bits of each layer": (
        InputQuantizer(),
        dsc(9, 8, 8, 4).model_copy(update={"depthwise_weight_bit_width": 6, "depthwise_activation_bit_width": 3}),
        InvertedResidual(
            out_channels=8,
            kernel_size=5,
            expansion=2,
            weight_bit_width=4,
            activation_bit_width=5,
            expand_weight_bit_width=3,
            expand_activation_bit_width=2,
            depthwise_weight_bit_width=7,
            depthwise_activation_bit_width=6,
        ),
    ),
    "branches, even kernels": (
        InputQuantizer(bit_width=6, clip=2.0, lowest=-1.5),
        Parallel(
            branches=tuple(
                (
                    Conv(out_channels=4, kernel_size=size, stride=4, weight_bit_width=6, activation_bit_width=5),
                    Conv(out_channels=3, kernel_size=1, weight_bit_width=4, activation_bit_width=6),
                )
                for size in (8, 5)
            )
        ),
        dsc(9, 1, 6, 5),
        GlobalPool(),
    ),
    "gates, hard-swish, average": (
        InputQuantizer(),
        Conv(
            out_channels=8, kernel_size=9, stride=8, weight_bit_width=5, activation_bit_width=6, activation="hard_swish"
        ),
        DepthwiseSeparable(
            out_channels=8,
            kernel_size=5,
            weight_bit_width=4,
            activation_bit_width=5,
            activation="hard_swish",
            squeeze_channels=4,
            excite_activation_bit_width=32,
        ),
        InvertedResidual(
            out_channels=8,
            kernel_size=5,
            hidden_channels=20,
            weight_bit_width=4,
            activation_bit_width=5,
            linear_projection=True,
            squeeze_channels=8,
        ),
        GlobalPool(operation="average", bit_width=7),
        Linear(out_features=16, weight_bit_width=3, activation_bit_width=7, activation="hard_swish"),
    ),
    "float, clipped": (HardTanh(), dsc(9, 8, 8, 32), GlobalPool(operation="average")),
    "float input": (dsc(9, 8, 8, 5), GlobalPool()),
    "float weights": (InputQuantizer(), dsc(9, 8, 8, 32), GlobalPool()),
    "two and eight bits": (InputQuantizer(), dsc(9, 8, 16, 2), dsc(9, 2, 16, 8), GlobalPool()),
}


@pytest.mark.parametrize("epsilon", [0.0, 0.15], ids=["dense", "pruned"])
@pytest.mark.parametrize("blocks", QUANTIZED_NETWORKS.values(), ids=QUANTIZED_NETWORKS.keys())
def test_counted_cost_equals_qonnx_on_the_exported_file(
    blocks: tuple[Block, ...], epsilon: float, tmp_path: Path
) -> None:
    architecture = ArchitectureConfig(blocks=(*blocks, CLASSIFIER))
    model = build_model(architecture, seed=7)
    prune_once(model, keep_from_epsilon, epsilon)
    write_qonnx(model, architecture, tmp_path / "model.onnx")

    cost, score = count_cost(architecture, measure_density(model)), score_qonnx_file(tmp_path / "model.onnx")
    by_qonnx = inference_cost(str(tmp_path / "model.onnx"), discount_sparsity=True, cost_breakdown=True)

    assert score["bit_ops"] == pytest.approx(by_qonnx["total_cost"]["total_bops"], rel=1e-12)
    assert score["weight_bits"] == pytest.approx(by_qonnx["total_cost"]["total_mem_w_bits"], rel=1e-12)
    assert [layer["name"] for layer in score["layers"]] == list(by_qonnx["node_cost"])

    assert cost.bit_ops == pytest.approx(score["bit_ops"], rel=1e-12)
    assert cost.weight_bits == pytest.approx(score["weight_bits"], rel=1e-12)
    assert cost.inference_cost == pytest.approx(score["inference_cost"], rel=1e-12)
    assert len(score["layers"]) == len(list_mac_layers(architecture))


def test_density_counts_weights_that_quantize_to_zero() -> None:
    model = build_model(ArchitectureConfig(blocks=(InputQuantizer(), dsc(9, 8, 8, 2), CLASSIFIER)), seed=0)
    name, module = next(iterate_mac_modules(model))
    with torch.no_grad():
        module.weight.fill_(0.1)
        module.weight[0, 0, 0] = 1.0
    assert measure_density(model)[name] == 1 / module.weight.numel()


def test_layer_names_are_those_of_the_model() -> None:
    architecture = ArchitectureConfig(blocks=(*QUANTIZED_NETWORKS["inverted residual"], CLASSIFIER))
    names = [name for name, _ in iterate_mac_modules(build_model(architecture, seed=0))]
    assert [layer.name for layer in list_mac_layers(architecture)] == names
    with pytest.raises(KeyError, match=r"blocks\.9\.conv"):
        count_layer_costs(architecture, {"blocks.9.conv": 0.5})


def test_command_scores_a_file_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture = ArchitectureConfig(blocks=(*QUANTIZED_NETWORKS["conv"], CLASSIFIER))
    write_qonnx(build_model(architecture, seed=0), architecture, tmp_path / "model.onnx")
    assert main([str(tmp_path / "model.onnx"), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert set(score) == {"bit_ops", "weight_bits", "inference_cost", "layers", "frame"}
    assert list(score["frame"].values()) == [[2, 1024]]
    assert sum(layer["bit_ops"] for layer in score["layers"]) == score["bit_ops"] > 0


def test_command_says_what_is_wrong_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no protobuf")
    assert main([str(tmp_path / "model.onnx")]) == 2
    assert main([str(tmp_path / "missing.onnx")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "is not a QONNX file" in lines[0]
    assert "is missing" in lines[1]
