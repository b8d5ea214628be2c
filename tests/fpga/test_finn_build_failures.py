"""FINN says in one line why it does not build something, and leaves no process behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from fpga.finn_build import FinnBuildError, FinnRun, make_build_request, run_finn_build
from fpga.toolchain.finn import Finn
from fpga.toolchain.process_group import CommandStoppedError
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111, build_exported
from tests.fpga.running_processes import find_processes

Export = Callable[[str], Path]


@pytest.mark.slow
def test_unknown_board_is_one_clear_line(finn: Finn, export_network: Export, tmp_path: Path) -> None:
    with pytest.raises(FinnBuildError, match=r"^board is ZCU999; expected one of .*ZCU111.*$"):
        build_exported(finn, export_network("residual"), tmp_path, replace(ZCU111, board="ZCU999"))


@pytest.mark.slow
def test_broken_model_is_one_clear_line(finn: Finn, export_network: Export, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes((export_network("residual") / "model.onnx").read_bytes()[:5_000])
    (broken / "proof.npz").write_bytes((export_network("residual") / "proof.npz").read_bytes())

    with pytest.raises(FinnBuildError, match=r"model.onnx, which is no readable ONNX file: ") as caught:
        build_exported(finn, broken, tmp_path / "build")

    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_failing_step_is_named(finn: Finn, export_network: Export, tmp_path: Path) -> None:
    network = tmp_path / "network"
    network.mkdir()
    (network / "model.onnx").write_bytes((export_network("residual") / "model.onnx").read_bytes())
    np.savez(network / "proof.npz", logits=np.zeros((1, 24)))

    with pytest.raises(FinnBuildError, match=r"^step_run_recorded_frames failed: KeyError: .*frames"):
        build_exported(finn, network, tmp_path / "build")


@pytest.mark.slow
def test_timeout_leaves_no_process(finn: Finn, export_network: Export, tmp_path: Path) -> None:
    with pytest.raises(FinnBuildError, match=r"^timeout_s is 2; the build took longer and was killed in "):
        build_exported(finn, export_network("residual"), tmp_path, timeout_s=2)

    assert find_processes(str(tmp_path / "request.json")) == []


@pytest.mark.slow
def test_stop_leaves_no_process(finn: Finn, export_network: Export, tmp_path: Path) -> None:
    network, stop = export_network("residual"), Event()
    request = make_build_request(network / "model.onnx", network / "proof.npz", ZCU111, tmp_path, BuildLevel.CODEGEN)
    threading.Timer(2, stop.set).start()

    with pytest.raises(CommandStoppedError):
        run_finn_build(finn, request, FinnRun(60, stop))

    assert find_processes(str(tmp_path / "request.json")) == []
