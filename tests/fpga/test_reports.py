"""FINN's JSON becomes one record.

The files in finn_reports are those of the residual network of exported_networks.py for ZCU111 at 5 ns and 100,000
frames/s, from FINN+ 1.6.1: `pytest tests/fpga/test_finn_build.py -k residual --basetemp=build`, then
`find build -path '*build_residual*/output/report/estimate_*.json'`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fpga.reports import ReportError, read_build_report
from fpga.verification import Verification

RECORDED = Path(__file__).parent / "finn_reports"


def test_recorded_reports_become_one_record() -> None:
    report = read_build_report(RECORDED, Verification(n_frames=100, n_classes_equal=99))

    assert (report.lut, report.bram_18k, report.uram, report.dsp) == (9527, 11, 0, 15)
    assert report.throughput_fps == pytest.approx(111049.4169905608)
    assert report.latency_us == pytest.approx(226.375)
    assert (report.bottleneck_layer, report.bottleneck_cycles) == ("ConvolutionInputGenerator_rtl_3", 1801)
    assert (report.n_frames_verified, report.n_classes_equal) == (100, 99)


def test_throughput_is_that_of_the_bottleneck_at_the_clock() -> None:
    report = read_build_report(RECORDED, Verification(100, 100))

    assert report.throughput_fps == pytest.approx(1e9 / (5.0 * report.bottleneck_cycles))


def test_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"estimate_network_performance\.json cannot be read"):
        read_build_report(tmp_path, Verification(1, 1))


def test_missing_field_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(RECORDED, tmp_path / "reports")
    performance = json.loads((folder / "estimate_network_performance.json").read_text())
    del performance["estimated_latency_ns"]
    (folder / "estimate_network_performance.json").write_text(json.dumps(performance))

    with pytest.raises(ReportError, match="no field 'estimated_latency_ns'"):
        read_build_report(folder, Verification(1, 1))


def test_report_cut_short_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(RECORDED, tmp_path / "reports")
    (folder / "estimate_layer_resources.json").write_text('{"total": {"LUT": ')

    with pytest.raises(ReportError, match=r"estimate_layer_resources\.json cannot be read"):
        read_build_report(folder, Verification(1, 1))
