"""Which levels a worker runs at once, and what it says where it stops, for want of tools or of speed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpga.claimed_build import check_target, describe_stop, last_level_at_once, level_after
from fpga.finn_build import FinnBuildError
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111
from tests.fpga.test_build_queue_worker import REPORT

ESTIMATE, CODEGEN, STITCHED_IP, OUT_OF_CONTEXT_SYNTH, BITFILE = BuildLevel


def test_levels_without_tools_are_run_at_once_and_the_later_ones_each_by_itself() -> None:
    every = tuple(BuildLevel)

    assert [last_level_at_once(level, every) for level in BuildLevel] == [
        CODEGEN,
        CODEGEN,
        STITCHED_IP,
        OUT_OF_CONTEXT_SYNTH,
        BITFILE,
    ]
    assert last_level_at_once(ESTIMATE, [ESTIMATE]) is ESTIMATE


def test_levels_follow_in_order() -> None:
    assert [level_after(level) for level in BuildLevel] == [CODEGEN, STITCHED_IP, OUT_OF_CONTEXT_SYNTH, BITFILE, None]


def test_worker_says_why_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XILINX_VIVADO", "XILINX_HLS", "XILINX_VITIS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")

    assert (describe_stop(CODEGEN, [ESTIMATE, CODEGEN]) or "").startswith("stitched_ip needs Vivado and Vitis HLS")
    assert describe_stop(ESTIMATE, [ESTIMATE]) == "codegen is not among this worker's --levels"
    assert describe_stop(CODEGEN, tuple(BuildLevel)) is None
    assert describe_stop(BITFILE, tuple(BuildLevel)) is None


def test_folding_may_stay_five_per_cent_below_the_target() -> None:
    target = replace(ZCU111, target_fps=100_000)

    check_target(replace(REPORT, throughput_fps=97_656.0), target)
    check_target(replace(REPORT, throughput_fps=95_000.0), target)
    with pytest.raises(FinnBuildError, match=r"^target_fps is 100000; FINN's folding reaches 94999 frames/s at 5 ns, "):
        check_target(replace(REPORT, throughput_fps=94_999.0), target)


def test_network_that_is_slow_but_fast_enough_is_no_error() -> None:
    check_target(replace(REPORT, throughput_fps=40.0), replace(ZCU111, target_fps=1))
