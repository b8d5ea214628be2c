"""Which levels a machine has the tools for. The tools here are empty programs: only the search for them is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpga.toolchain.machine_tools import (
    VITIS_HLS,
    VIVADO,
    LevelError,
    choose_levels,
    describe_missing_tools,
    find_tool,
    make_tool_variables,
)
from storage.records import BuildLevel

WITHOUT_TOOLS = (BuildLevel.ESTIMATE, BuildLevel.CODEGEN)


@pytest.fixture
def xilinx(tmp_path: Path) -> Path:
    """A folder as the Xilinx installer makes it, with programs that do nothing."""
    for program in ("Vivado/2022.2/bin/vivado", "Vitis_HLS/2022.2/bin/vitis_hls"):
        path = tmp_path / program
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def test_machine_without_tools_goes_as_far_as_generated_code() -> None:
    assert choose_levels(None, {"PATH": "/nowhere"}) == WITHOUT_TOOLS
    assert (
        describe_missing_tools(BuildLevel.STITCHED_IP, {"PATH": "/nowhere"})
        == "stitched_ip needs Vivado and Vitis HLS, not found on this machine by PATH, XILINX_VIVADO, XILINX_HLS"
    )


def test_tools_are_found_on_the_path_or_by_their_variables(xilinx: Path) -> None:
    vivado, hls = xilinx / "Vivado/2022.2", xilinx / "Vitis_HLS/2022.2"
    on_path = {"PATH": f"{vivado}/bin:{hls}/bin"}
    by_variables = {"PATH": "/nowhere", "XILINX_VIVADO": str(vivado), "XILINX_HLS": str(hls)}

    for variables in (on_path, by_variables):
        assert find_tool(VIVADO, variables) == vivado / "bin/vivado"
        assert find_tool(VITIS_HLS, variables) == hls / "bin/vitis_hls"
        assert choose_levels(None, variables) == tuple(BuildLevel)
        made = make_tool_variables(variables)
        assert (made["XILINX_VIVADO"], made["XILINX_HLS"]) == (str(vivado), str(hls))
        assert made["PATH"].startswith(f"{vivado}/bin:{hls}/bin:")


def test_links_to_tools_lead_to_the_folder_that_names_the_version(xilinx: Path) -> None:
    links = xilinx / "bin"
    links.mkdir()
    for program in ("Vivado/2022.2/bin/vivado", "Vitis_HLS/2022.2/bin/vitis_hls"):
        (links / Path(program).name).symlink_to(xilinx / program)

    made = make_tool_variables({"PATH": str(links)})

    assert made["XILINX_VIVADO"] == str(xilinx / "Vivado/2022.2")
    assert made["XILINX_HLS"] == str(xilinx / "Vitis_HLS/2022.2")


def test_one_tool_alone_is_not_enough(xilinx: Path) -> None:
    variables = {"PATH": str(xilinx / "Vivado/2022.2/bin")}

    assert choose_levels(None, variables) == WITHOUT_TOOLS
    assert make_tool_variables(variables) == {}
    assert (describe_missing_tools(BuildLevel.BITFILE, variables) or "").startswith(
        "bitfile needs Vitis HLS, not found"
    )


def test_levels_asked_for_are_put_in_order() -> None:
    assert choose_levels(["codegen", "estimate"], {"PATH": "/nowhere"}) == WITHOUT_TOOLS


def test_level_whose_tools_are_missing_is_refused() -> None:
    with pytest.raises(LevelError, match=r"^stitched_ip needs Vivado and Vitis HLS, not found on this machine"):
        choose_levels(["codegen", "stitched_ip", "bitfile"], {"PATH": "/nowhere"})


@pytest.mark.parametrize("levels", [[], ["gds2"]])
def test_unknown_level_is_refused(levels: list[str]) -> None:
    with pytest.raises(LevelError, match="expected some of estimate, codegen, stitched_ip"):
        choose_levels(levels)
