"""The table's networks are those it says, and its lines say what was built."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from search.benchmarks.hardware_table import (
    SEEDS,
    STUDY_FILE,
    ZCU104,
    ExampleNetwork,
    describe_builds,
    draw_member,
    list_networks,
)
from spaces.blocks import DepthwiseSeparable
from spaces.known_designs import bacalhaunet_network, vgg10_network
from spaces.study_config import StudyConfig, load_study_config
from storage.hardware_reports import BuildReport, GraphAgreement, Resources
from storage.records import Build, BuildLevel, BuildState
from workers.inference_cost import count_cost

REPORT = BuildReport(
    lut=20_000,
    bram_18k=10,
    uram=0,
    dsp=50,
    throughput_fps=231_481.5,
    latency_us=90.4,
    bottleneck_layer="MVAU_rtl_0",
    bottleneck_cycles=1080,
    n_frames_verified=200,
    n_classes_equal=200,
    connected=Resources(lut=23_000, bram_18k=11, uram=0, dsp=50),
    available=Resources(lut=230_000, bram_18k=610, uram=92, dsp=1728),
    by_rothe=Resources(lut=60_000, bram_18k=0, uram=0, dsp=40_000),
    agreements=(GraphAgreement("qonnx", 200, 200), GraphAgreement("folded", 199, 200)),
)


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    return load_study_config(STUDY_FILE)


def make_build(report: BuildReport | None, message: str | None) -> Build:
    now = datetime.now(UTC)
    values = {field.name: None for field in dataclasses.fields(Build)} | {
        **{"build_id": 1, "study_name": "hardware-table", "trial_number": 0, "model": "m", "reference_vectors": "p"},
        **{"target": ZCU104, "timeout_s": 600, "is_below_threshold": True, "attempt": 1},
        **{"state": BuildState.SUCCEEDED if report else BuildState.FAILED, "report": report, "message": message},
        **{"queued_at": now, "finished_at": now},
    }
    return Build(**values)  # type: ignore[arg-type]


def test_vgg10_has_the_challenges_weights() -> None:
    """1,272,832 weight bits at 8 bits, dense (qonnx.util.inference_cost's golden number of RadioML_VGG10)."""
    assert count_cost(vgg10_network(8, clip=2.0), {}).weight_bits == 1_272_832
    assert count_cost(vgg10_network(4, clip=2.0), {}).weight_bits == 1_272_832 / 2


def test_bacalhaunet_has_the_published_weights() -> None:
    """Its dense float32 form costs 1.41546, published as 1.4155 (Rosa et al., ITU J-FET)."""
    cost = count_cost(bacalhaunet_network(8, linear=8), {})

    in_float32 = 0.5 * 16 * cost.bit_ops / 807_699_904 + 0.5 * 4 * cost.weight_bits / 1_244_936
    assert in_float32 == pytest.approx(1.41546, abs=1e-5)


def test_random_members_have_mixed_bit_widths_and_are_the_same_each_time(config: StudyConfig) -> None:
    for seed in SEEDS:
        blocks = [block for block in draw_member(config, seed).blocks if isinstance(block, DepthwiseSeparable)]
        assert len(blocks) == 4
        assert len({block.weight_bit_width for block in blocks}) > 1
    assert list_networks(config) == list_networks(config)
    assert len({network.architecture.architecture_id for network in list_networks(config)}) == 7


def test_line_has_both_totals_the_formula_and_the_equal_frames() -> None:
    network = ExampleNetwork("VGG10 w4a4, 32 filters", vgg10_network(4, 32, clip=2.0), ZCU104)

    *_, line, published = describe_builds([network], {0: make_build(REPORT, None)}).splitlines()

    assert line == (
        "| VGG10 w4a4, 32 filters | ZCU104, 250 MHz | 230,000 | 231,482 | 90 | 20,000 | 23,000 (10%) | 11 (2%) "
        "| 50 (3%) | 60,000, 40,000 | qonnx 200, folded 199 of 200 |"
    )
    assert published.startswith("| VGG10 w4a4, 32 filters, finn-examples: 230,000 frames/s, measured | ZCU104")
    assert line.count("|") == published.count("|")


def test_published_network_stands_beside_ours_of_as_many_filters_alone() -> None:
    networks = [
        ExampleNetwork("VGG10 w4a4", vgg10_network(4, clip=2.0), ZCU104),
        ExampleNetwork("other", vgg10_network(8, clip=2.0), ZCU104),
    ]

    assert "finn-examples" not in describe_builds(networks, {})


def test_failed_build_has_its_reason() -> None:
    network = ExampleNetwork("VGG10 w4a4", vgg10_network(4, clip=2.0), ZCU104)

    table = describe_builds([network], {0: make_build(None, "timeout_s is 2")})

    assert "| 230,000 | timeout_s is 2 |" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert BuildLevel.CODEGEN.value not in table
