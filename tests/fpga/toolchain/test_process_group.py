"""A command ends with its children, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from threading import Event

import pytest

from fpga.toolchain.process_group import CommandStoppedError, CommandTimeoutError, run_in_process_group, yield_to_others
from tests.fpga.running_processes import is_running, wait_until


def spawn_child_and_wait(pid_file: Path) -> list[str | Path]:
    return ["bash", "-c", f"sleep 300 & echo $! > {pid_file}; wait"]


def child_is_gone(pid_file: Path) -> bool:
    pid = int(pid_file.read_text())
    return wait_until(lambda: not is_running(pid), timeout_s=5)


def test_exit_status_and_all_output_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"

    status = run_in_process_group(["bash", "-c", "echo out; echo err >&2; exit 3"], log, timeout_s=10, stop=Event())

    assert status == 3
    assert log.read_text().split() == ["out", "err"]


def test_timeout_kills_the_children_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    with pytest.raises(CommandTimeoutError):
        run_in_process_group(spawn_child_and_wait(pid_file), tmp_path / "log", timeout_s=1, stop=Event())

    assert child_is_gone(pid_file)


def test_stop_ends_the_command_at_once(tmp_path: Path) -> None:
    pid_file, stop = tmp_path / "pid", Event()
    threading.Timer(1, stop.set).start()
    started = time.monotonic()

    with pytest.raises(CommandStoppedError):
        run_in_process_group(spawn_child_and_wait(pid_file), tmp_path / "log", timeout_s=60, stop=stop)

    assert time.monotonic() - started < 10
    assert child_is_gone(pid_file)


def test_child_that_outlives_its_command_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = ["bash", "-c", f"sleep 300 & echo $! > {pid_file}"]

    assert run_in_process_group(command, tmp_path / "log", timeout_s=10, stop=Event()) == 0

    assert child_is_gone(pid_file)


def test_process_of_another_group_that_has_the_output_is_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = ["bash", "-c", f"setsid sleep 2 & echo $! > {pid_file}; sleep 0.5"]

    assert run_in_process_group(command, tmp_path / "log", timeout_s=10, stop=Event()) == 0

    assert not is_running(int(pid_file.read_text()))


@pytest.mark.parametrize("ends_by_itself", [False, True])
def test_command_ends_with_a_caller_that_is_killed_unless_it_does_by_itself(
    tmp_path: Path, ends_by_itself: bool
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom threading import Event\n"
        "from fpga.toolchain.process_group import run_in_process_group\n"
        "run_in_process_group(['sh', '-c', 'echo $$ > pid; exec sleep 300'], Path('log'), timeout_s=300, stop=Event(), "
        f"ends_by_itself={ends_by_itself})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    noted = tmp_path / "pid"
    pid = int(wait_until(lambda: noted.is_file() and noted.read_text(), timeout_s=30))

    caller.kill()
    caller.wait()

    is_gone = wait_until(lambda: not is_running(pid), timeout_s=2)
    if ends_by_itself:
        os.kill(pid, signal.SIGKILL)
    assert is_gone == (not ends_by_itself)


@pytest.mark.skipif(not Path("/proc/self/autogroup").is_file(), reason="this kernel has no autogroups")
def test_command_that_yields_has_its_niceness_and_that_of_its_session(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = (*yield_to_others(19), "sh", "-c", "nice; cat /proc/self/autogroup")
    assert run_in_process_group(command, log, timeout_s=20, stop=Event()) == 0
    niceness, session = log.read_text().splitlines()
    assert niceness == "19"
    assert session.endswith("nice 19")
