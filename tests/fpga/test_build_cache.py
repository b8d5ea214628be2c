"""Builds by what they are made of: which are the same, whose folder it is, and when it starts over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from fpga import build_cache
from fpga.build_cache import finished_level, is_finished, lock_folder, make_build_key, mark_finished, place_inputs
from fpga.toolchain.process_group import CommandStoppedError
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111
from tests.fpga.running_processes import wait_until

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from threading import Event
from fpga.build_cache import lock_folder
with lock_folder(Path(sys.argv[1]), Event(), lambda: None) as lock:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"], pass_fds=(lock,))
    print("locked", flush=True)
    time.sleep(60)
"""
"""A worker whose FINN outlives it by up to two seconds."""


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """model.onnx and proof.npz."""
    (tmp_path / "model.onnx").write_bytes(b"network")
    (tmp_path / "proof.npz").write_bytes(b"frames")
    return tmp_path / "model.onnx", tmp_path / "proof.npz"


def test_same_network_under_another_name_has_the_same_key(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "of another trial.onnx"
    copy.write_bytes(b"network")

    assert make_build_key(copy, ZCU111, "finn") == make_build_key(inputs[0], ZCU111, "finn")


def test_each_part_of_the_key_makes_another_build(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = inputs[0]
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another network")
    keys = [
        make_build_key(model, ZCU111, "finn"),
        make_build_key(other, ZCU111, "finn"),
        make_build_key(model, replace(ZCU111, board="Pynq-Z1"), "finn"),
        make_build_key(model, replace(ZCU111, clk_period_ns=4.0), "finn"),
        make_build_key(model, replace(ZCU111, target_fps=1), "finn"),
        make_build_key(model, replace(ZCU111, output="scores"), "finn"),
        make_build_key(model, ZCU111, "finn of other pins"),
    ]
    steps = tmp_path / "steps.py"
    steps.write_text("other steps")
    monkeypatch.setattr(build_cache, "IN_FINN_CODE", (steps,))
    keys.append(make_build_key(model, ZCU111, "finn"))

    assert len(set(keys)) == 8


def test_key_is_of_all_our_code_that_runs_beside_finn() -> None:
    names = {path.name for path in build_cache.IN_FINN_CODE}

    assert {"steps.py", "folding.py", "thresholds.py"} <= names


def test_inputs_lie_in_the_folder_and_finished_steps_stay(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "builds"
    placed = place_inputs(folder, *inputs)
    step = _leave_step(folder)

    assert place_inputs(folder, *inputs) == placed
    assert [path.read_bytes() for path in placed] == [b"network", b"frames"]
    assert step.is_file()


def test_other_frames_start_an_unfinished_build_over(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "builds"
    place_inputs(folder, *inputs)
    step = _leave_step(folder)
    inputs[1].write_bytes(b"other frames")

    _, vectors = place_inputs(folder, *inputs)

    assert vectors.read_bytes() == b"other frames"
    assert not step.exists()


def test_finished_level_keeps_the_frames_it_was_verified_on(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "builds"
    place_inputs(folder, *inputs)
    step = _leave_step(folder)
    mark_finished(folder, BuildLevel.CODEGEN)
    inputs[1].write_bytes(b"other frames")

    _, vectors = place_inputs(folder, *inputs)

    assert vectors.read_bytes() == b"frames"
    assert step.is_file()


def test_folder_that_was_moved_starts_over(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """FINN writes absolute paths of generated code into its models."""
    place_inputs(tmp_path / "builds", *inputs)
    _leave_step(tmp_path / "builds")
    mark_finished(tmp_path / "builds", BuildLevel.CODEGEN)
    moved = (tmp_path / "builds").rename(tmp_path / "moved")

    place_inputs(moved, *inputs)

    assert finished_level(moved) is None
    assert not (moved / "output").exists()


def test_levels_up_to_the_finished_one_are_finished(tmp_path: Path) -> None:
    assert finished_level(tmp_path) is None
    assert not is_finished(tmp_path, BuildLevel.ESTIMATE)

    mark_finished(tmp_path, BuildLevel.CODEGEN)

    assert [level for level in BuildLevel if is_finished(tmp_path, level)] == [BuildLevel.ESTIMATE, BuildLevel.CODEGEN]


def test_folder_is_free_only_when_the_dead_workers_finn_has_ended(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    waits: list[str] = []
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with lock_folder(tmp_path, Event(), lambda: waits.append("waits")):
        pass

    assert waits == ["waits"]
    holder.stdout.close()


def test_waiting_for_a_folder_ends_when_the_worker_is_stopped(tmp_path: Path) -> None:
    stop = Event()
    is_waiting = Event()

    def wait() -> None:
        with pytest.raises(CommandStoppedError), lock_folder(tmp_path, stop, is_waiting.set):
            pass

    with lock_folder(tmp_path, Event(), lambda: None):
        thread = threading.Thread(target=wait)
        thread.start()
        assert is_waiting.wait(10)
        stop.set()
        assert wait_until(lambda: not thread.is_alive(), timeout_s=10)


def _leave_step(folder: Path) -> Path:
    step = folder / "output" / "intermediate_models" / "step_tidy_up.onnx"
    step.parent.mkdir(parents=True)
    step.write_bytes(b"model")
    return step
