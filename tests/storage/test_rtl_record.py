"""What open-source tools found of a build's code is kept beside its report, and never changes FINN's figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.builds import claim_build, finish_build, load_build, queue_build, record_rtl_check
from storage.database import Database
from storage.hardware_reports import BuildReport, LayerReport, Resources
from storage.records import BuildLevel, BuildRequest, BuildTarget, FinishedBuild
from storage.rtl_record import RtlCheck, RtlLayerCheck
from storage.stored_json import from_json

REPORT = BuildReport(
    lut=350,
    bram_18k=0,
    uram=0,
    dsp=0,
    throughput_fps=100_000.0,
    latency_us=20.0,
    bottleneck_layer="VVAU_hls_0",
    bottleneck_cycles=2000,
    n_frames_verified=8,
    n_classes_equal=8,
    layers=(
        LayerReport("Thresholding_rtl_0", 350, 0, 0, 0, 1024, 2, None),
        LayerReport("VVAU_hls_0", 900, 0, 0, 0, 2000, 1, 1),
    ),
)

CHECK = RtlCheck(
    yosys="Yosys 0.70",
    verilator=None,
    n_frames=4,
    edited_for_yosys=("thresholding.sv",),
    edited_for_verilator=(),
    layers=(
        RtlLayerCheck("Thresholding_rtl_0", None, 4096, False, "word 7 is 01; expected 02"),
        RtlLayerCheck("VVAU_hls_0", "an HLS layer", None, None, "an HLS layer"),
    ),
)

BY_YOSYS = Resources(lut=731, bram_18k=1, uram=0, dsp=0, ff=750)


@pytest.fixture
def build_id(database: Database) -> int:
    target = BuildTarget(board="ZCU111", clk_period_ns=5.0, target_fps=100_000)
    build = queue_build(
        database,
        BuildRequest(
            study_name="study",
            trial_number=0,
            stage=0,
            model="model.onnx",
            reference_vectors="proof.npz",
            target=target,
            timeout_s=60,
            is_below_threshold=False,
            test_accuracy=None,
        ),
    )
    assert claim_build(database, "worker", 60) is not None
    return build.build_id


def test_check_is_stored_in_a_column_of_its_own(database: Database, build_id: int) -> None:
    assert finish_build(database, build_id, "worker", FinishedBuild(REPORT, BuildLevel.CODEGEN))

    assert record_rtl_check(database, build_id, {"Thresholding_rtl_0": BY_YOSYS}, CHECK)

    report = load_build(database, build_id).report
    checked = replace(REPORT.layers[0], by_yosys=BY_YOSYS)
    assert report == replace(REPORT, layers=(checked, REPORT.layers[1]), rtl_check=CHECK)


def test_build_at_work_is_left_alone(database: Database, build_id: int) -> None:
    assert not record_rtl_check(database, build_id, {}, CHECK)

    assert load_build(database, build_id).report is None


def test_report_of_before_the_check_is_read() -> None:
    layer = {"name": "A", "lut": 1, "bram_18k": 0, "uram": 0, "dsp": 0, "cycles": 5, "pe": None, "simd": None}

    assert from_json(LayerReport, layer).by_yosys is None
