"""What Yosys left, as resources of an FPGA, or as one line that says why there are none."""

from __future__ import annotations

import pytest

from fpga.rtl.synthesis import SynthesisError, count_resources, find_error, is_ultrascale_plus, write_script
from storage.hardware_reports import Resources


def test_cells_are_counted_as_the_resources_they_take() -> None:
    cells = {"LUT2": 10, "LUT6": 5, "LUT6_2": 1, "RAM32M16": 2, "FDRE": 40, "FDSE": 2, "RAMB36E2": 3, "RAMB18E2": 1}

    taken = count_resources(cells | {"DSP48E2": 7, "CARRY4": 99, "MUXF7": 3, "INV": 4, "BUFG": 1})

    assert taken == Resources(lut=10 + 5 + 1 + 2 * 8, bram_18k=2 * 3 + 1, uram=0, dsp=7, ff=42)


def test_cell_that_nobody_counts_is_an_error() -> None:
    with pytest.raises(SynthesisError, match=r"cells that are not counted here: \$mem_v2, LDCE"):
        count_resources({"LUT2": 1, "$mem_v2": 1, "LDCE": 2})


@pytest.mark.parametrize(
    ("log", "error"),
    [
        (
            "Top level:\nmvu.sv:277: ERROR: unknown module 'LUT6_2'\nERROR: failed\n",
            "mvu.sv:277: ERROR: unknown module",
        ),
        ("Build succeeded: 0 errors, 0 warnings\nERROR: too   late\n", "ERROR: too late"),
        ("Killed\n", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_error_is_the_first_that_the_log_names(log: str, error: str) -> None:
    assert find_error(log).startswith(error)


def test_assertions_are_removed_before_synthesis() -> None:
    script = write_script(["a.sv", "b.v"], "-nolutram").splitlines()

    assert script[0].endswith("--top finn_layer a.sv b.v")
    assert script[1:3] == [
        "chformal -remove",
        "synth_xilinx -family xcup -flatten -noiopad -nolutram -top finn_layer",
    ]


def test_other_families_are_told_from_ultrascale_plus() -> None:
    parts = ("xczu28dr-ffvg1517-2-e", "xck26-sfvc784-2LV-c", "xcu250-figd2104-2L-e", "xc7z020clg400-1", "xcvc1902-x")

    assert [is_ultrascale_plus(part) for part in parts] == [True, True, True, False, False]
