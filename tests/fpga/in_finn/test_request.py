"""A request that was written is read as it was; of an older one, what later commands need."""

from __future__ import annotations

import json
from pathlib import Path

from fpga.finn_build import make_build_request, make_sweep_request
from fpga.in_finn.request import (
    RtlRequest,
    StepsRequest,
    read_board,
    read_parent_pid,
    read_rtl_request,
    read_steps_request,
)
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111


def write(request: StepsRequest | RtlRequest, folder: Path) -> Path:
    path = folder / "request.json"
    path.write_text(request.to_json())
    return path


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    build = make_build_request(Path("m.onnx"), Path("proof.npz"), ZCU111, tmp_path, BuildLevel.CODEGEN)
    sweep = make_sweep_request(Path("m.onnx"), [ZCU111], tmp_path)
    rtl = RtlRequest(tmp_path / "output", tmp_path / "generated", "ZCU111", tmp_path, Path("proof.npz"), n_frames=4)

    assert read_steps_request(write(build, tmp_path)) == build
    assert read_steps_request(write(sweep, tmp_path)) == sweep
    assert read_rtl_request(write(rtl, tmp_path)) == rtl
    assert read_parent_pid(write(rtl, tmp_path)) == rtl.parent_pid


def test_board_of_an_older_build_is_read(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"model": "m.onnx", "output_dir": "output", "board": "ZCU111", "proof": "proof.npz"}))

    assert read_board(path) == "ZCU111"
