"""Networks found by hand, and which spaces have them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from spaces.architecture import ArchitectureConfig
from spaces.block_space import parse_blocks
from spaces.known_designs import KNOWN_ARCHITECTURES, Mismatch, find_params
from spaces.study_config import load_study_config
from workers.inference_cost import count_cost

ROOT = Path(__file__).parents[2]


def test_four_block_networks_are_those_of_the_report() -> None:
    with (ROOT / "tests/workers/bacalhaunet_architectures.csv").open() as file:
        rows = {(row["kernels"], row["strides"], row["channels"]) for row in csv.DictReader(file)}
    ours = set()
    for name, architecture in KNOWN_ARCHITECTURES.items():
        if name.startswith("four_blocks"):
            blocks = [block.model_dump() for block in architecture.blocks[1:5]]
            ours.add(tuple("-".join(str(b[key]) for b in blocks) for key in ("kernel_size", "stride", "out_channels")))
    assert ours == rows


def test_bacalhaunet_in_floats_costs_what_the_paper_says() -> None:
    """1.4155 (Rosa et al., ITU J-FET, table 5)."""
    blocks = [
        block.model_copy(update={name: 32 for name in BITS if getattr(block, name, None) is not None})
        for block in bacalhaunet().blocks[1:]
    ]
    floats = ArchitectureConfig(blocks=tuple(blocks))
    assert count_cost(floats, {}).inference_cost == pytest.approx(1.4155, abs=5e-5)


BITS = ("weight_bit_width", "activation_bit_width")


@pytest.mark.parametrize("name", [name for name in KNOWN_ARCHITECTURES if name.startswith("four_blocks")])
def test_values_of_a_known_design_give_it_in_the_space(name: str) -> None:
    config = load_study_config(ROOT / "spaces/dsc4.yaml")
    params = find_params(config.space.blocks, KNOWN_ARCHITECTURES[name])
    strides = [block.model_dump()["stride"] for block in KNOWN_ARCHITECTURES[name].blocks[1:5]]
    if strides[0] == 1:
        assert isinstance(params, Mismatch)
        assert (params.path, params.given) == ("space.blocks[1].stride", "one of 2, 4")
        return
    if isinstance(params, Mismatch):
        assert "out_channels" in params.path
        return
    rest = {"pruning.stages[0].inference_cost": 0.015, "pruning.stages[1].inference_cost": 0.005}
    design = config.search_space.suggest(FixedTrial({**params, **rest}))
    assert design.architecture == KNOWN_ARCHITECTURES[name]


def test_groups_that_repeat_are_unrolled() -> None:
    conv = {"type": "conv", "kernel_size": 3, "out_channels": {"int": [16, 64], "step": 8}}
    bits = {"weight_bit_width": {"int": [2, 8]}, "activation_bit_width": 4}
    hidden = {"type": "linear", "out_features": 128, "weight_bit_width": 8, "activation_bit_width": 8}
    entries = parse_blocks(
        [
            {"type": "input_quantizer", "clip": 2.0},
            {"repeat": {"int": [5, 7]}, "blocks": [{**conv, **bits}, {"type": "max_pool", "kernel_size": 2}]},
            {"repeat": 2, "blocks": [hidden]},
            {"type": "linear", "out_features": 24, "weight_bit_width": 8},
        ]
    )
    params = find_params(entries, KNOWN_ARCHITECTURES["vgg10"])
    assert not isinstance(params, Mismatch)
    assert params["space.blocks[1].repeat"] == 7
    assert params["space.blocks[1].times[6].blocks[0].out_channels"] == 64
    assert params["space.blocks[1].times[6].blocks[0].weight_bit_width"] == 8
    assert not any("activation" in name for name in params), "4 bits are fixed, and 8 are not among them"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "conv"}, ("blocks[1].type", "conv", "depthwise_separable")),
        ({"kernel_size": {"int": [9, 21], "step": 2}}, ("blocks[1].kernel_size", "from 9 to 21 in steps of 2", "27")),
        ({"stride": 4}, ("blocks[1].stride", "4", "2")),
        ({"residual": True}, ("blocks[1].residual", "True", "False")),
    ],
)
def test_what_differs_is_named(change: dict[str, object], expected: tuple[str, str, str]) -> None:
    base = {"type": "depthwise_separable", "kernel_size": {"int": [9, 33], "step": 2}, "stride": {"choices": [2, 4]}}
    widths = {"out_channels": {"int": [16, 48]}, "weight_bit_width": 6, "activation_bit_width": 6}
    first = {**base, **widths, **change}
    if change.get("type") == "conv":
        first = {key: value for key, value in first.items() if key != "residual"}
    rest = [{**base, **widths, "stride": {"choices": [1, 2]}} for _ in range(4)]
    ends = [{"type": "global_pool"}, {"type": "linear", "out_features": 24, "weight_bit_width": 8}]
    found = find_params(parse_blocks([{"type": "input_quantizer"}, first, *rest, *ends]), bacalhaunet())
    assert isinstance(found, Mismatch)
    assert (found.path, found.given) == (f"space.{expected[0]}", expected[1])
    assert expected[2] in found.expected


def test_bits_that_are_the_blocks_own_are_found_where_the_space_names_them_apart() -> None:
    widths = {"weight_bit_width": {"int": [4, 8]}, "depthwise_weight_bit_width": {"int": [3, 8]}}
    block = {"type": "depthwise_separable", "kernel_size": {"int": [9, 27], "step": 2}, "stride": {"choices": [1, 2]}}
    rest = {"out_channels": {"choices": [24, 48]}, "activation_bit_width": 6, "residual": {"choices": [True, False]}}
    ends = [{"type": "global_pool"}, {"type": "linear", "out_features": 24, "weight_bit_width": 8}]
    entries = parse_blocks([{"type": "input_quantizer"}, *({**block, **rest, **widths} for _ in range(5)), *ends])
    params = find_params(entries, bacalhaunet())
    assert not isinstance(params, Mismatch)
    assert [params[f"space.blocks[{n}].depthwise_weight_bit_width"] for n in range(1, 6)] == [6] * 5
    assert [params[f"space.blocks[{n}].residual"] for n in range(1, 6)] == [False, True, False, True, False]


def bacalhaunet() -> ArchitectureConfig:
    return KNOWN_ARCHITECTURES["bacalhaunet"]


def test_space_of_another_depth_is_told() -> None:
    config = load_study_config(ROOT / "spaces/dsc4.yaml")
    found = find_params(config.space.blocks, bacalhaunet())
    assert isinstance(found, Mismatch)
    assert found.given == "a list that never gives 8 blocks"
