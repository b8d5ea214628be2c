"""An existing FINN is checked before anything starts, and its builds are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from threading import Event

import pytest

from fpga import run, sweep
from fpga.toolchain.external_finn import CONTAINER, find_finn, main
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import FinnEnvironmentError
from fpga.toolchain.machine_tools import LevelError, levels_without_tools
from fpga.toolchain.process_group import CommandStoppedError
from storage.environment_variables import FINN_VARIABLE
from storage.records import BuildLevel
from tests.fpga.stand_in_engine import write_engine


def refuse(given: str, cache: Path) -> str:
    with pytest.raises(FinnEnvironmentError) as error:
        find_finn(given, cache=cache)
    assert "\n" not in str(error.value)
    assert not list(cache.glob("*"))
    return str(error.value)


def test_python_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert refuse("/nowhere/python", tmp_path) == (
        "--finn (or FPGA_FINN) is /nowhere/python, which does not exist; expected the path of a python that has FINN+, "
        "docker://IMAGE or podman://IMAGE"
    )


def test_folder_and_file_that_is_no_program_are_told_apart(tmp_path: Path) -> None:
    file, cache = tmp_path / "python", tmp_path / "cache"
    file.write_text("")

    assert f"{tmp_path}, which is a folder; expected" in refuse(str(tmp_path), cache)
    assert f"{file}, which cannot be executed; expected" in refuse(str(file), cache)


def test_program_that_is_no_python_is_told(tmp_path: Path) -> None:
    program, cache = tmp_path / "python", tmp_path / "cache"
    program.write_text("#!/bin/sh\necho what\n")
    program.chmod(0o755)

    assert "which is no python that runs: what; expected" in refuse(str(program), cache)


def test_python_without_finn_is_told(tmp_path: Path) -> None:
    assert "whose python has no package finn-plus; expected" in refuse(sys.executable, tmp_path)


def test_engine_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "is docker://finn:1, but docker is not installed here; expected" in refuse("docker://finn:1", tmp_path)


def test_image_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_engine(tmp_path, Path(sys.executable))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    message = refuse("docker://finn:2", tmp_path / "cache")

    assert (
        "an image that docker does not have or cannot look up; nothing is pulled here. It says: docker: no" in message
    )


def test_unknown_engine_is_told(tmp_path: Path) -> None:
    assert "is rocket://finn:1; expected the path of" in refuse("rocket://finn:1", tmp_path)


def test_check_that_hangs_is_left_when_stopped(tmp_path: Path) -> None:
    program, stop = tmp_path / "python", Event()
    program.write_text("#!/bin/sh\nsleep 300\n")
    program.chmod(0o755)
    threading.Timer(0.5, stop.set).start()

    with pytest.raises(CommandStoppedError):
        find_finn(str(program), stop=stop, cache=tmp_path / "cache")


def test_worker_sweep_and_check_say_so_and_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FINN_VARIABLE, "/nowhere/python")
    (tmp_path / "model.onnx").write_bytes(b"")
    storage = ["--storage", f"sqlite:///{tmp_path}/studies.db", "--artifacts", str(tmp_path / "artifacts")]

    assert run.main([*storage, "--drain"]) == 1
    assert sweep.main([str(tmp_path / "model.onnx"), *storage]) == 1
    assert sweep.main([str(tmp_path / "model.onnx"), *storage, "--finn", "/other/python"]) == 1
    assert main(["/nowhere/python"]) == 1

    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0].rpartition(" ")[2] for line in lines] == [
        "/nowhere/python",
        "/nowhere/python",
        "/other/python",
        "/nowhere/python",
    ]


def test_script_is_never_there_without_being_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    changed: list[Path] = []
    packages = json.dumps({"python": "3", "packages": [["finn-plus", "1.6.1", ""]]})
    program.write_text(f"#!/bin/sh\necho '{packages}'\n")
    program.chmod(0o755)
    change = Path.chmod

    def note_and_change(path: Path, mode: int) -> None:
        changed.append(path)
        change(path, mode)

    monkeypatch.setattr(Path, "chmod", note_and_change)

    script = find_finn(str(program), cache=tmp_path / "cache").python

    assert os.access(script, os.X_OK)
    assert [path.parent for path in changed] == [script.parent]
    assert script not in changed


def test_warnings_of_an_engine_are_not_taken_for_the_images_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = json.dumps({"python": "3", "packages": [["finn-plus", "1.6.1", ""]]})
    engine = tmp_path / "podman"
    engine.write_text(
        f"#!/bin/sh\ncase $1 in image) echo 'level=warning msg=shared' >&2; echo 0a1b;; run) echo '{packages}';; esac\n"
    )
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    script = find_finn("podman://finn:1", cache=tmp_path / "cache").python

    assert script.read_text().splitlines()[1:] == [f'exec {sys.executable} -I {CONTAINER} {engine} 0a1b "$@"']


def test_container_has_no_levels_that_need_tools() -> None:
    assert levels_without_tools(list(BuildLevel)) == (BuildLevel.ESTIMATE, BuildLevel.CODEGEN)
    with pytest.raises(
        LevelError, match=r"--levels has bitfile; expected some of estimate, codegen: FINN in a container"
    ):
        levels_without_tools([BuildLevel.BITFILE])


@pytest.mark.slow
def test_external_python_is_loaded_once_and_known_by_version_and_folder(finn: Finn, tmp_path: Path) -> None:
    lines: list[str] = []

    first = find_finn(str(finn.python), lines.append, cache=tmp_path)
    again = find_finn(str(finn.python), lines.append, cache=tmp_path)

    version = subprocess.run(
        [first.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert first == again
    assert lines == [f"FINN+ 1.6.1 of {finn.python} is loaded once, to see that it can be"]
    assert first.identity.startswith("finn-1.6.1-own-")
    assert first.identity != finn.identity
    assert version.stdout.strip() == str(finn.folder)
    assert not first.is_container
