"""A call of a fork server is as one of Python itself: what it prints, how it ends, and who it ends with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpga.toolchain.fork_server import FORKED_CALLS, fork_server
from tests.fpga.running_processes import find_processes, is_running, wait_until

MODULE = """
import os, sys, time
from pathlib import Path

is_prepared = False

def prepare():
    global is_prepared
    is_prepared = True

def main(arguments):
    print(arguments, is_prepared, os.environ.get("WHO"), Path.cwd().name, flush=True)
    print("on stderr", file=sys.stderr)
    if arguments[0] == "sleep":
        Path(arguments[1]).write_text(str(os.getpid()))
        time.sleep(60)
    if arguments[0] == "raise":
        raise ValueError("of the call")
    return int(arguments[0]) if arguments[0].isdecimal() else 0

if __name__ == "__main__":
    print("plain")
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / f"module_{os.getpid()}_{tmp_path.name}.py"  # no other process names it
    path.write_text(MODULE)
    return path


@pytest.fixture
def program(module: Path) -> Iterator[Path]:
    with fork_server(Path(sys.executable), module.stem, {**os.environ, "PYTHONPATH": str(module.parent)}, 3) as program:
        yield program


def run(program: Path, module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WHO": "caller"}
    command: list[str | Path] = [program, module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=module.parent, check=False)


def start_sleeper(program: Path, module: Path) -> tuple[subprocess.Popen[bytes], int]:
    noted = module.parent / "pid"
    caller = subprocess.Popen([program, module, "sleep", str(noted)], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: noted.is_file() and noted.read_text(), timeout_s=30)
    return caller, int(noted.read_text())


def test_call_has_its_callers_arguments_environment_folder_and_outputs(program: Path, module: Path) -> None:
    done = run(program, module, "7", "two words")

    assert done.returncode == 7
    assert done.stdout == f"['7', 'two words'] True caller {module.parent.name}\n"
    assert done.stderr == "on stderr\n"


def test_module_may_be_called_by_its_name(program: Path, module: Path) -> None:
    command: list[str | Path] = [program, "-m", module.stem, "0", "x"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("['0', 'x'] True")


def test_exception_is_status_1_with_its_traceback_and_the_next_call_works(program: Path, module: Path) -> None:
    failed = run(program, module, "raise")

    assert failed.returncode == 1
    assert "ValueError: of the call" in failed.stderr
    assert run(program, module, "0").returncode == 0


def test_killed_call_looks_killed(program: Path, module: Path) -> None:
    caller, pid = start_sleeper(program, module)

    os.kill(pid, signal.SIGKILL)

    assert caller.wait(10) == -signal.SIGKILL


def test_call_ends_with_its_caller(program: Path, module: Path) -> None:
    caller, pid = start_sleeper(program, module)

    caller.kill()
    caller.wait()

    assert wait_until(lambda: not is_running(pid), timeout_s=10)


def test_call_ends_with_a_caller_that_has_not_read_that_it_started(program: Path, module: Path) -> None:
    noted = module.parent / "pid"
    request = {"arguments": ["sleep", str(noted)], "environment": dict(os.environ), "folder": str(module.parent)}
    with socket.socket(socket.AF_UNIX) as caller, Path(os.devnull).open("wb") as output:
        caller.connect(str(program.with_name("socket")))
        socket.send_fds(caller, [json.dumps(request).encode() + b"\n"], [output.fileno()] * 2)
        assert wait_until(lambda: noted.is_file() and noted.read_text(), timeout_s=30)

    assert wait_until(lambda: not is_running(int(noted.read_text())), timeout_s=10)


def test_call_runs_plainly_where_the_fork_server_has_died(program: Path, module: Path) -> None:
    (server,) = wait_until(lambda: find_processes(module.stem), timeout_s=10)  # while it execs it has no command line
    os.kill(server, signal.SIGKILL)
    assert wait_until(lambda: not is_running(server), timeout_s=10)

    done = run(program, module, "7")

    assert done.returncode == 7
    assert done.stdout.startswith("plain\n['7'] False caller")


def test_call_runs_plainly_where_the_module_cannot_be_imported(module: Path) -> None:
    with fork_server(Path(sys.executable), "no_such_module", dict(os.environ), 0) as program:
        assert run(program, module, "7").stdout.startswith("plain\n")


def test_calls_run_plainly_where_the_temporary_folder_has_a_long_name(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with fork_server(Path(sys.executable), module.stem, {**os.environ, "PYTHONPATH": str(module.parent)}, 0) as program:
        assert run(program, module, "7").stdout.startswith("plain\n['7']")
    assert list(long.iterdir()) == []


def test_calls_run_plainly_where_the_temporary_folder_lets_nothing_be_run(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a file system mounted noexec
    with fork_server(Path(sys.executable), module.stem, {**os.environ, "PYTHONPATH": str(module.parent)}, 0) as program:
        assert run(program, module, "7").stdout.startswith("plain\n['7']")


def test_nothing_is_left_behind_the_block(module: Path) -> None:
    with fork_server(Path(sys.executable), module.stem, {**os.environ, "PYTHONPATH": str(module.parent)}, 0) as program:
        run(program, module, "0")
        assert find_processes(str(FORKED_CALLS))

    assert not program.parent.exists()
    assert not find_processes(module.stem)


def test_fork_server_ends_with_the_one_that_started_it(module: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from fpga.toolchain.fork_server import fork_server\n"
        "with fork_server(Path(sys.executable), sys.argv[1], dict(os.environ), 0): time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{FORKED_CALLS.parents[2]}{os.pathsep}{module.parent}"}
    starter = subprocess.Popen([sys.executable, "-c", script, module.stem], env=environment)
    assert wait_until(lambda: len(find_processes(module.stem)) == 2, timeout_s=30)

    starter.kill()
    starter.wait()

    assert wait_until(lambda: not find_processes(module.stem), timeout_s=20)
