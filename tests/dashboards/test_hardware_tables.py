"""Tables and sentences of estimates, builds and cross-checks."""

from __future__ import annotations

from dataclasses import replace

from dashboards.build_text import rtl_sentences, vivado_sentences
from dashboards.hardware_tables import cross_check_table, hardware_table, layer_table
from storage.hardware_reports import MeasuredHardware, Resources
from storage.rtl_record import RtlCheck, RtlLayerCheck
from tests.dashboards.demo_study import BUILD_REPORT, DETAILED_BUILD_REPORT
from tests.dashboards.test_trial_note import BUILD

MEASURED = MeasuredHardware(
    core=Resources(lut=21_000, bram_18k=30, uram=0, dsp=12, ff=31_000),
    core_slack_ns=-0.25,
    core_fmax_mhz=190.48,
    core_power_w=1.234,
    vivado="2024.2",
    fpga=Resources(lut=29_000, bram_18k=44, uram=0, dsp=12, ff=40_000),
    fpga_slack_ns=0.1,
    bitfile="output/bitfile/finn-accel.bit",
    deployment="output/deploy",
)
CHECK = RtlCheck(
    yosys="Yosys 0.70",
    verilator="Verilator 5.020",
    n_frames=4,
    edited_for_yosys=(),
    edited_for_verilator=(),
    layers=(
        RtlLayerCheck("ConvolutionInputGenerator_rtl_0", None, 4096, True, None),
        RtlLayerCheck("VVAU_hls_0", "an HLS layer", None, None, "an HLS layer"),
        RtlLayerCheck("ConvolutionInputGenerator_rtl_1", None, 512, False, "word 7 is 01; expected 02"),
    ),
)
FIRST, *OTHERS = DETAILED_BUILD_REPORT.layers
CHECKED = replace(
    DETAILED_BUILD_REPORT,
    layers=(replace(FIRST, by_yosys=Resources(lut=388, bram_18k=1, uram=0, dsp=0, ff=750)), *OTHERS),
    rtl_check=CHECK,
)


def test_nothing_known_is_no_table() -> None:
    assert hardware_table(None, [replace(BUILD, report=None)]) is None
    assert layer_table(BUILD_REPORT) is None


def test_what_vivado_measured_stands_beside_the_estimates() -> None:
    report = replace(DETAILED_BUILD_REPORT, measured=MEASURED)

    table = hardware_table(None, [replace(BUILD, report=report)])

    assert table is not None
    assert table.header[3:] == ("build 3, Vivado: core", "build 3, Vivado: FPGA")
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["LUT"] == ("18,432", "24,100 (5.7%)", "21,000 (4.9%)", "29,000 (6.8%)")
    assert cells["FF"] == ("", "", "31,000", "40,000")
    assert cells["throughput"] == ("", "101,562 frames/s", "", "")
    assert cells["worst slack"] == ("", "", "-0.25 ns", "0.1 ns")
    assert cells["largest clock"] == ("", "", "190.5 MHz", "")
    assert cells["power"] == ("", "", "1.23 W", "")


def test_metrics_that_nobody_has_are_left_out() -> None:
    table = hardware_table(None, [BUILD])

    assert table is not None
    assert [row[0] for row in table.rows] == [
        "LUT", "BRAM18", "URAM", "DSP", "throughput", "latency", "bottleneck layer",
    ]  # fmt: skip


def test_a_core_that_vivado_named_no_clock_for_has_its_resources_alone() -> None:
    measured = replace(
        MEASURED, core_slack_ns=None, core_fmax_mhz=None, core_power_w=None, vivado=None, fpga=None, fpga_slack_ns=None
    )

    table = hardware_table(None, [replace(BUILD, report=replace(BUILD_REPORT, measured=measured))])

    assert table is not None
    assert table.header == ("hardware", "build 3, layers only", "build 3, Vivado: core")
    assert not {"worst slack", "largest clock", "power"} & {row[0] for row in table.rows}


def test_the_cross_check_stands_beside_each_layer_that_has_one() -> None:
    table = cross_check_table(CHECKED)

    assert table is not None
    assert table.rows == (
        ("ConvolutionInputGenerator_rtl_0", "412", "388", "750", "1", "0", "equal"),
        ("ConvolutionInputGenerator_rtl_1", "530", "", "", "", "", "differs"),
    )
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_a_build_without_a_cross_check_has_no_table_of_it() -> None:
    assert cross_check_table(DETAILED_BUILD_REPORT) is None


def test_a_cross_check_is_summed_up_and_differences_named() -> None:
    assert rtl_sentences(CHECKED) == [
        "Yosys 0.70 synthesised the generated code of 1 of 6 layers.",
        "Verilator 5.020 simulated 2 of 3 layers on 4 recorded frames; 1 of them gave exactly the expected output.",
        "ConvolutionInputGenerator_rtl_1 differs: word 7 is 01; expected 02.",
    ]


def test_without_verilator_nothing_is_said_to_be_simulated() -> None:
    report = replace(CHECKED, rtl_check=replace(CHECK, verilator=None))

    assert rtl_sentences(report)[1:] == ["The generated code was not simulated: Verilator is missing."]


def test_without_yosys_nothing_is_said_to_be_synthesised() -> None:
    report = replace(DETAILED_BUILD_REPORT, rtl_check=replace(CHECK, yosys="not found"))

    assert rtl_sentences(report)[0] == "Yosys could not synthesise the generated code of any layer."


def test_without_a_cross_check_nothing_is_said_of_it() -> None:
    assert rtl_sentences(DETAILED_BUILD_REPORT) == []


def test_vivados_version_the_bitfile_and_its_driver_are_named() -> None:
    assert vivado_sentences(replace(BUILD_REPORT, measured=MEASURED)) == [
        "Measured by Vivado 2024.2.",
        "Bitfile: output/bitfile/finn-accel.bit in the build's folder.",
        "Bitfile and driver: output/deploy in the build's folder.",
    ]
    assert vivado_sentences(BUILD_REPORT) == []
