"""FINN's estimates become one record.

The file in finn_reports is that of the residual network of exported_networks.py for ZCU111 at 5 ns and 100,000
frames/s, from FINN+ 1.6.1: `pytest tests/fpga/test_finn_build.py -k residual --basetemp=build`, then
`find build -path '*build_residual*/output/report/network_report.json'`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from fpga.reports import (
    ReportError,
    describe_utilisation,
    make_build_report,
    make_hardware_estimate,
    read_network_report,
)
from fpga.verification import Verification
from storage.hardware_reports import BuildReport, GraphAgreement, LayerReport, Resources
from storage.stored_json import from_json

RECORDED = Path(__file__).parent / "finn_reports"

VERIFIED = Verification(200, (GraphAgreement("qonnx", 200, 200), GraphAgreement("folded", 199, 200)))


def test_recorded_report_becomes_one_record() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    assert (report.lut, report.bram_18k, report.uram, report.dsp) == (9527, 10, 0, 12)
    assert report.connected == Resources(lut=13378, bram_18k=10, uram=0, dsp=12)
    assert (report.n_width_converters, report.n_fifos) == (17, 56)
    assert report.latency_us == pytest.approx(228.935)
    assert (report.bottleneck_layer, report.bottleneck_cycles) == ("ConvolutionInputGenerator_rtl_3", 1801)
    assert (report.n_frames_verified, report.n_classes_equal) == (200, 200)
    assert report.agreements == VERIFIED.agreements


def test_estimate_of_the_same_network_counts_what_connects_its_layers() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    estimate = make_hardware_estimate(read_network_report(RECORDED))

    assert Resources(estimate.lut, estimate.bram_18k, estimate.uram, estimate.dsp) == report.connected
    assert (estimate.throughput_fps, estimate.latency_us) == (report.throughput_fps, report.latency_us)
    assert (estimate.bottleneck_layer, estimate.available) == (report.bottleneck_layer, report.available)


def test_report_without_a_field_is_refused(tmp_path: Path) -> None:
    network = json.loads((RECORDED / "network_report.json").read_text())
    del network["latency_us"]
    (tmp_path / "network_report.json").write_text(json.dumps(network))

    with pytest.raises(ReportError, match=r"has no field 'latency_us'; expected those of fpga/in_finn/network_report"):
        read_network_report(tmp_path)


def test_report_without_the_weights_is_no_build(tmp_path: Path) -> None:
    network = json.loads((RECORDED / "network_report.json").read_text())
    del network["weights"]
    (tmp_path / "network_report.json").write_text(json.dumps(network))

    with pytest.raises(ReportError, match="has no field 'weights'; expected that of a build"):
        make_build_report(read_network_report(tmp_path), VERIFIED)


def test_throughput_is_that_of_the_bottleneck_at_the_clock() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    assert report.throughput_fps == pytest.approx(1e9 / (5.0 * report.bottleneck_cycles))
    assert max(layer.cycles for layer in report.layers) == report.bottleneck_cycles


def test_layers_sum_up_to_the_total_of_layers_only() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    assert len(report.layers) == 36
    assert sum(layer.lut for layer in report.layers) == report.lut
    assert sum(layer.dsp for layer in report.layers) == report.dsp
    assert report.layers[3] == LayerReport("Thresholding_rtl_0", 102, 0, 0, 0, cycles=512, pe=1, simd=None)


def test_rothes_formula_counts_the_weights_that_are_left() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    weights = [(22, 8), (24, 8), (86, 3), (115, 3), (76, 5), (115, 5), (74, 4), (148, 4), (332, 6)]
    assert report.by_rothe is not None
    assert report.by_rothe.dsp == round(sum(2 * bits / 32 * count for count, bits in weights))


def test_utilisation_is_in_per_cent_of_the_board() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)
    assert report.connected is not None

    # ZCU111 in finn.util.platforms: 425,000 LUT, 2160 BRAM18, 80 URAM, 4272 DSP
    assert describe_utilisation(report.connected, report.available) == "3.1% LUT, 0.5% BRAM18, 0.0% URAM, 0.3% DSP"
    assert describe_utilisation(report.connected, None) == ""


def test_report_survives_json() -> None:
    report = make_build_report(read_network_report(RECORDED), VERIFIED)

    assert from_json(BuildReport, json.loads(json.dumps(asdict(report)))) == report


def test_report_of_before_the_second_total_is_read() -> None:
    old: dict[str, object] = {
        "lut": 9527,
        "bram_18k": 11,
        "uram": 0,
        "dsp": 15,
        "throughput_fps": 111049.4,
        "latency_us": 226.4,
    }
    old |= {
        "bottleneck_layer": "MVAU_rtl_0",
        "bottleneck_cycles": 1801,
        "n_frames_verified": 100,
        "n_classes_equal": 99,
    }

    report = from_json(BuildReport, old)

    assert (report.lut, report.connected, report.layers) == (9527, None, ())


def test_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"network_report\.json cannot be read"):
        read_network_report(tmp_path)


def test_report_cut_short_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(RECORDED, tmp_path / "reports")
    (folder / "network_report.json").write_text('{"bare": {"lut": ')

    with pytest.raises(ReportError, match=r"network_report\.json cannot be read"):
        read_network_report(folder)
