"""A container gives its command's status, and ends with whoever started it.

With FPGA_TEST_IMAGE, such as podman://localhost/finn:1.6.1, the same with a real engine and an image that holds FINN.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from fpga.run import BuildWorker, run_queue
from fpga.toolchain.container import find_folders, make_command
from fpga.toolchain.external_finn import CONTAINER, find_finn
from fpga.toolchain.finn import Finn
from fpga.toolchain.process_group import CommandTimeoutError, run_in_process_group
from storage.artifacts import ArtifactStore
from storage.builds import load_build
from storage.database import Database
from storage.records import Build, BuildState
from tests.fpga.running_processes import find_processes, wait_until
from tests.fpga.stand_in_engine import write_engine

SLEEP = "import sys, time; time.sleep(300)"

TEST_IMAGE = os.environ.get("FPGA_TEST_IMAGE")

HAS_NAMESPACES = subprocess.run(["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"], check=False)

Start = Callable[..., list[str | Path]]


@pytest.fixture(params=["stand-in", "engine"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """The command that runs `python ARGUMENTS...` in a container."""
    if request.param == "engine":
        if TEST_IMAGE is None:
            pytest.skip("FPGA_TEST_IMAGE names no image")
        engine, _, image = TEST_IMAGE.partition("://")
    else:
        if HAS_NAMESPACES.returncode != 0:
            pytest.skip("this user may make no pid namespaces")
        engine, image = str(write_engine(tmp_path, Path(sys.executable))), "finn:1"
    return lambda *arguments: [sys.executable, CONTAINER, engine, image, *arguments]


@pytest.fixture
def mark() -> str:
    """An argument by which a process in a container is found from outside."""
    return uuid.uuid4().hex


def is_gone(mark: str) -> bool:
    return wait_until(lambda: not find_processes(mark), timeout_s=10)


def is_there(mark: str) -> bool:
    """Launcher, engine's client and container: in the last, `-c` is what python itself runs."""
    return bool(wait_until(lambda: [pid for pid in find_processes(mark) if _is_container(pid)], timeout_s=20))


def _is_container(pid: int) -> bool:
    namespace = Path(f"/proc/{pid}/ns/pid")
    return namespace.exists() and namespace.readlink() != Path("/proc/self/ns/pid").readlink()


def test_exit_status_and_output_are_those_of_the_command(start: Start) -> None:
    result = subprocess.run(
        start("-c", "print('in'); raise SystemExit(3)"), capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout.strip()) == (3, "in")


def test_killed_command_ends_as_one_that_a_signal_killed(start: Start, mark: str) -> None:
    with subprocess.Popen(start("-c", SLEEP, mark)) as launcher:
        assert is_there(mark)
        os.kill(next(pid for pid in find_processes(mark) if _is_container(pid)), signal.SIGKILL)

        assert launcher.wait(20) == -signal.SIGKILL


def test_engine_that_cannot_run_the_image_is_named(start: Start) -> None:
    command = start("-c", "pass")
    command[3] = "finn:none"

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 125
    assert "ContainerError: " in result.stdout
    assert "could not run finn:none; its own words are above" in result.stdout


def test_container_ends_where_its_launcher_is_killed(start: Start, mark: str) -> None:
    with subprocess.Popen(start("-c", SLEEP, mark)) as launcher:
        assert is_there(mark)
        launcher.kill()

    assert is_gone(mark)


def test_container_ends_where_the_worker_is_killed(start: Start, mark: str) -> None:
    worker = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", worker, *start("-c", SLEEP, mark)], start_new_session=True) as process:
        assert is_there(mark)
        process.kill()

    assert is_gone(mark)


def test_container_ends_at_the_timeout(start: Start, mark: str, tmp_path: Path) -> None:
    with pytest.raises(CommandTimeoutError):
        run_in_process_group(start("-c", SLEEP, mark), tmp_path / "log", timeout_s=2, stop=Event())

    assert is_gone(mark)


def test_folder_stays_locked_until_the_container_is_gone(start: Start, mark: str, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock, (tmp_path / "lock").open("w") as other:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(start("-c", SLEEP, mark), pass_fds=(lock.fileno(),)) as launcher:
            assert is_there(mark)
            lock.close()
            launcher.kill()

        fcntl.flock(other, fcntl.LOCK_EX)

    assert not find_processes(mark)


def test_folders_of_a_request_are_mounted_and_the_inputs_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path / "build" / "generated"))
    request = {"model": str(tmp_path / "m" / "model.onnx"), "proof": "", "output_dir": str(tmp_path / "build/output")}
    arguments = ["/code/in_finn", "build", str(tmp_path / "build" / "request.json")]

    folders = find_folders(arguments, request)
    command = make_command("docker", "finn:1", "finn-1", arguments, request)

    assert folders == {
        Path("/code/in_finn"): True,
        tmp_path / "m": True,
        tmp_path / "build": False,
        tmp_path / "build/output": False,
        tmp_path / "build/generated": False,
    }
    assert f"type=bind,source={tmp_path}/m,target={tmp_path}/m,readonly" in command
    assert f"type=bind,source={tmp_path}/build,target={tmp_path}/build" in command
    assert command[:9] == [
        "docker",
        "run",
        "--rm",
        "--pull",
        "never",
        "--network",
        "none",
        "--security-opt",
        "label=disable",
    ]
    assert command[-6:] == ["--entrypoint", "python", "finn:1", *arguments]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stand-in", "engine"])
def test_build_in_a_container_is_that_of_the_made_environment(
    kind: str,
    worker: BuildWorker,
    database: Database,
    store: ArtifactStore,
    queue_tiny: Callable[..., Build],
    finn: Finn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = TEST_IMAGE or ""
    if kind == "stand-in":
        write_engine(tmp_path, finn.python)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        image = "docker://finn:1"
    if not image or HAS_NAMESPACES.returncode != 0:
        pytest.skip("no FPGA_TEST_IMAGE, or no pid namespaces")
    in_container = find_finn(image, cache=tmp_path / "cache")
    inside, outside = queue_tiny(store), queue_tiny(store, study_name="made")

    run_queue(replace(worker, finn=in_container), max_builds=1)
    run_queue(worker, max_builds=1)

    built, made = load_build(database, inside.build_id), load_build(database, outside.build_id)
    assert in_container.is_container
    assert not finn.is_container
    assert built.state is made.state is BuildState.SUCCEEDED
    assert built.report == made.report
    assert built.folder != made.folder
