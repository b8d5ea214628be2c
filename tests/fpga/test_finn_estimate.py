"""FINN's estimate alone: what it says, and how a network that FINN refuses is told from a build that did not end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest

from fpga.finn_build import (
    FinnBuildError,
    FinnRun,
    FinnTimeoutError,
    UnbuildableNetworkError,
    make_estimate_request,
    run_finn_estimate,
)
from fpga.in_finn.network_report import NetworkReport
from fpga.toolchain.finn import Finn
from fpga.toolchain.process_group import LEAST
from spaces.architecture import ArchitectureConfig
from spaces.blocks import GlobalPool, InputQuantizer
from storage.records import BuildTarget
from tests.fpga.exported_networks import ZCU111, conv, linear
from workers.architecture_export import export_architecture
from workers.model import build_model
from workers.qonnx_export import write_qonnx

pytestmark = pytest.mark.slow


def estimate(
    finn: Finn, model: Path, folder: Path, target: BuildTarget = ZCU111, timeout_s: float = 300, niceness: int = 0
) -> NetworkReport:
    request = make_estimate_request(model, target, folder)
    return run_finn_estimate(finn, request, FinnRun(timeout_s, Event(), niceness=niceness))


def test_estimate_ends_with_the_report_and_runs_no_frames(
    finn: Finn, export_tiny: Callable[[int], Path], tmp_path: Path
) -> None:
    report = estimate(finn, export_tiny(0) / "model.onnx", tmp_path, niceness=LEAST)

    assert report.throughput_fps >= ZCU111.target_fps
    assert report.with_fifos.lut > report.layers_only.lut > 100
    assert not list(tmp_path.rglob("recorded_outputs.npz"))
    assert not list((tmp_path / "generated").rglob("*.v"))


def test_folding_below_the_target_is_an_estimate_too(
    finn: Finn, export_tiny: Callable[[int], Path], tmp_path: Path
) -> None:
    unreachable = replace(ZCU111, target_fps=100_000_000)

    report = estimate(finn, export_tiny(0) / "model.onnx", tmp_path, unreachable)

    assert 0 < report.throughput_fps < 100_000_000


def test_global_pool_does_not_limit_what_a_network_can_reach(finn: Finn, tmp_path: Path) -> None:
    blocks = (InputQuantizer(), conv(16), conv(64, stride=2), GlobalPool(), linear(24, 4))
    export_architecture(ArchitectureConfig(blocks=blocks), tmp_path / "model.onnx")

    report = estimate(finn, tmp_path / "model.onnx", tmp_path, replace(ZCU111, target_fps=1_000_000))

    pairs = [pair for pair in pairwise(report.layers) if pair[1].name.startswith("Pool")]
    assert len(pairs) == 3  # each behind the layer that makes its windows
    assert max(layer.cycles for pair in pairs for layer in pair) < 0.8 * report.bottleneck_cycles


def test_network_that_finn_refuses_is_unbuildable(finn: Finn, tmp_path: Path) -> None:
    blocks = (conv(4, stride=2), GlobalPool(), linear(24, 4))  # no quantizer of the input
    architecture = ArchitectureConfig(blocks=blocks, frame_length=32)
    write_qonnx(build_model(architecture, seed=0), architecture, tmp_path / "model.onnx")

    with pytest.raises(UnbuildableNetworkError, match=r"^step_make_integer_graph failed: UnsupportedLayerError: "):
        estimate(finn, tmp_path / "model.onnx", tmp_path / "build")


def test_timeout_and_wrong_request_are_not_put_down_to_the_network(
    finn: Finn, export_tiny: Callable[[int], Path], tmp_path: Path
) -> None:
    model = export_tiny(0) / "model.onnx"

    with pytest.raises(FinnTimeoutError, match=r"^timeout_s is 1; "):
        estimate(finn, model, tmp_path / "late", timeout_s=1)
    with pytest.raises(FinnBuildError, match=r"^board is ZCU999; ") as caught:
        estimate(finn, model, tmp_path / "board", replace(ZCU111, board="ZCU999"))
    assert not isinstance(caught.value, UnbuildableNetworkError)
