"""What the test bench says, in words."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from fpga.rtl.simulation import describe_difference, find_error
from fpga.rtl.tools import Call, ToolKilledError, run_tool


@pytest.mark.parametrize(
    ("log", "difference"),
    [
        ("DONE 96 48 1200\n", None),
        ("DIFFERS 7 0a 0b\nDIFFERS 9 01 02\nDONE 96 48 1200\n", "word 7 is 0a; expected 0b"),
        ("SURPLUS 48 ff\nDONE 96 49 1200\n", "word 48 is ff; expected 48 words"),
        ("UNSTABLE 3\nDONE 96 48 1200\n", "word 3 changes before it is taken"),
        ("STALLED 5 12\nDONE 12 5 99\n", "no word 5 after 12 words of 96 were taken; expected 48 words"),
        ("Segmentation fault\n", "the simulation ended without a result: Segmentation fault"),
    ],
)
def test_first_finding_is_told_with_word_and_values(log: str, difference: str | None) -> None:
    assert describe_difference(log, n_in=96, n_out=48) == difference


def test_killed_tool_is_told_from_one_that_fails(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        call = Call(10, Event(), lock.fileno())
        assert run_tool(("sh", "-c", "exit 3"), tmp_path, tmp_path / "log", call) == 3
        with pytest.raises(ToolKilledError, match="sh was killed by SIGKILL"):
            run_tool(("sh", "-c", "kill -9 $$"), tmp_path, tmp_path / "log", call)
        with pytest.raises(ToolKilledError, match="a process of bash was killed: Killed"):
            run_tool(("bash", "-c", "sh -c 'kill -9 $$'; exit 2"), tmp_path, tmp_path / "log", call)


def test_assertion_of_the_layer_itself_is_a_finding() -> None:
    log = (
        "[78] %Error: mvu_vvu_axi.sv:376: Assertion failed in TOP.rtl_bench.layer.core.inst.blkOutput.unnamedblk3: "
        "TOP.rtl_bench.layer.core.inst.blkOutput.unnamedblk3: Overflowing output queue.\n"
    )
    told = "an assertion of mvu_vvu_axi.sv fails: Overflowing output queue."

    assert describe_difference(log + "DONE 96 48 1200\n", n_in=96, n_out=48) == told
    assert (describe_difference(log, n_in=96, n_out=48) or "").endswith(f"; {told}")  # it ended without a result
    assert describe_difference(log + "DIFFERS 1 0a 0b\n", n_in=96, n_out=48) == f"word 1 is 0a; expected 0b; {told}"


def test_error_of_the_compiler_goes_before_that_of_make() -> None:
    log = "%Error: make -C obj exited with 2\nVrtl.cpp:132:23: error: no match for operator\n"

    assert find_error(log) == "Vrtl.cpp:132:23: error: no match for operator"
