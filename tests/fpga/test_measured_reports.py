"""What Vivado measured is read from files as FINN's later steps write them; Vivado's reports below are hand-written."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fpga.measured_reports import read_measured_hardware, read_worst_slack
from fpga.reports import ReportError
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import make_finn_variables
from storage.hardware_reports import BuildReport, MeasuredHardware, Resources
from storage.stored_json import from_json

UTILIZATION = """
+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs                   | 12034 |     0 |          0 |    425280 |  2.83 |
|   LUT as Logic             | 11000 |     0 |          0 |    425280 |  2.59 |
|   LUT as Memory            |  1034 |     0 |          0 |    213600 |  0.48 |
|     LUT as Shift Register  |  1000 |     0 |            |           |       |
| CLB Registers              | 15001 |     0 |          0 |    850560 |  1.76 |
| Block RAM Tile             |   6.5 |     0 |          0 |      1080 |  0.60 |
|   RAMB36/FIFO*             |     5 |     0 |          0 |      1080 |  0.46 |
|   RAMB18                   |     3 |     0 |          0 |      2160 |  0.14 |
| URAM                       |     2 |     0 |          0 |        80 |  2.50 |
| DSPs                       |    19 |     0 |          0 |      4272 |  0.44 |
"""
"""As report_utilization prints it; the lines that finn/util/vivado.py looks for."""

TIMING = """
------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
     -0.250       -1.500                     12                41233        0.010        0.000
"""
"""As report_timing_summary prints it."""

POWER = "| Total On-Chip Power (W)  | 1.234        |\n"

METADATA = "clk_period_ns=5.0\nvivado_version=2022.2\n"

CORE = {"LUT": 12034, "FF": 15001, "DSP": 19, "BRAM_36K": 5, "BRAM_18K": 3, "URAM": 2, "SRL": 1000, "LUTRAM": 1034}
CORE_TIMING = {
    "WNS": -0.25,
    "total_power_W": 1.234,
    "clk_period_ns": 5.0,
    "vivado_version": "2022.2",
    "fmax_mhz": 190.476,
}

MEASURED = MeasuredHardware(
    core=Resources(lut=12034, bram_18k=13, uram=2, dsp=19, ff=15001),
    core_slack_ns=-0.25,
    core_fmax_mhz=190.476,
    core_power_w=1.234,
    vivado="2022.2",
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output" / "report").mkdir(parents=True)
    return tmp_path / "output"


def write_core(output: Path, values: dict[str, object]) -> None:
    (output / "report" / "ooc_synth_and_timing.json").write_text(json.dumps(values))


def test_nothing_is_measured_before_the_core_is_synthesised(output: Path) -> None:
    (output / "report" / "network_report.json").write_text("{}")

    assert read_measured_hardware(output) is None


def test_core_is_read_with_its_clock_and_power(output: Path) -> None:
    write_core(output, {**CORE, **CORE_TIMING, "estimated_throughput_fps": 90_000.0})

    assert read_measured_hardware(output) == MEASURED


def test_clock_that_vivado_did_not_name_is_not_invented(output: Path) -> None:
    """finn/util/vivado.py takes a missing WNS for 0, and names the clock that was asked for."""
    write_core(output, {**CORE, "clk_period_ns": 5.0, "fmax_mhz": 200.0})

    measured = read_measured_hardware(output)

    assert measured is not None
    assert (measured.core_slack_ns, measured.core_fmax_mhz, measured.core_power_w) == (None, None, None)


def test_missing_resource_is_named(output: Path) -> None:
    write_core(output, {"LUT": 1, "DSP": 2})

    with pytest.raises(ReportError, match=r"ooc_synth_and_timing.json has no field FF, BRAM_36K, BRAM_18K; expected"):
        read_measured_hardware(output)


def test_bitfile_adds_the_whole_fpga_and_where_its_files_lie(output: Path) -> None:
    write_core(output, {**CORE, **CORE_TIMING})
    top = {"LUT": 20000, "SRL": 1500, "FF": 30000, "BRAM_36K": 10, "BRAM_18K": 4, "DSP": 19}
    resources = {"(top)": top, "MVAU_rtl_0": {**top, "LUT": 100}}
    (output / "report" / "post_synth_resources.json").write_text(json.dumps(resources))
    (output / "report" / "post_route_timing.rpt").write_text(TIMING)
    for folder in ("bitfile", "deploy"):
        (output / folder).mkdir()
    (output / "bitfile" / "finn-accel.bit").write_bytes(b"")

    assert read_measured_hardware(output) == replace(
        MEASURED,
        fpga=Resources(lut=20000, bram_18k=24, uram=0, dsp=19, ff=30000),
        fpga_slack_ns=-0.25,
        bitfile="output/bitfile/finn-accel.bit",
        deployment="output/deploy",
    )


def test_bitfile_of_an_alveo_board_is_found_under_its_own_name(output: Path) -> None:
    """step_synthesize_bitfile names it so, and leaves no timing report."""
    write_core(output, {**CORE, **CORE_TIMING})
    (output / "bitfile").mkdir()
    (output / "bitfile" / "finn-accel-0.xclbin").write_bytes(b"")

    assert read_measured_hardware(output) == replace(MEASURED, bitfile="output/bitfile/finn-accel-0.xclbin")


def test_slack_of_a_design_without_clock_is_none(tmp_path: Path) -> None:
    report = tmp_path / "timing.rpt"
    report.write_text(TIMING.replace("-0.250", "    NA"))

    assert read_worst_slack(report) is None


def test_measured_hardware_survives_the_database() -> None:
    report = BuildReport(
        1, 2, 3, 4, 5.0, 6.0, "MVAU_0", 7, 8, 8, measured=replace(MEASURED, fpga=Resources(1, 2, 3, 4, 5))
    )

    values = json.loads(json.dumps(asdict(report)))
    assert from_json(BuildReport, values) == report
    del values["measured"]
    assert from_json(BuildReport, values) == replace(report, measured=None)


@pytest.mark.slow
def test_finns_own_reading_of_vivados_reports_is_what_is_read(finn: Finn, output: Path, tmp_path: Path) -> None:
    for name, text in (("utilization", UTILIZATION), ("timing", TIMING), ("power", POWER)):
        (tmp_path / f"ooc_{name}.rpt").write_text(text)
    (tmp_path / "ooc_metadata.txt").write_text(METADATA)
    program = (
        "import json, sys; from finn.util.vivado import parse_ooc_synth_results as p; print(json.dumps(p(sys.argv[1])))"
    )

    read = subprocess.run(
        [finn.python, "-c", program, tmp_path],
        env=make_finn_variables(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    (output / "report" / "ooc_synth_and_timing.json").write_text(read.stdout.splitlines()[-1])

    measured = read_measured_hardware(output)
    assert measured is not None
    assert measured.core_fmax_mhz == pytest.approx(190.476, abs=1e-3)
    assert replace(measured, core_fmax_mhz=190.476) == MEASURED
