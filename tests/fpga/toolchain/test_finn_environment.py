"""FINN's environment is made once, by one maker, and never half."""

from __future__ import annotations

import fcntl
import re
import subprocess
import threading
from pathlib import Path
from threading import Event

import pytest

from fpga.toolchain import finn_environment
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import (
    PACKAGES_WITHOUT_DEPENDENCIES,
    REQUIREMENTS,
    FinnEnvironmentError,
    ensure_finn_environment,
    environment_folder,
    is_complete,
    main,
)
from fpga.toolchain.finnlib_corrections import CORRECTIONS, CorrectionError, apply_corrections
from fpga.toolchain.process_group import CommandStoppedError


def pinned_lines() -> list[str]:
    return [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]


def test_every_package_is_pinned_exactly() -> None:
    lines = [*PACKAGES_WITHOUT_DEPENDENCIES, *pinned_lines()]

    assert len(lines) > 40
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line)] == []
    assert "torch==2.13.0" in lines


@pytest.mark.slow
def test_environment_has_the_pinned_versions(finn: Finn) -> None:
    result = subprocess.run([finn.python, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True)
    installed = {line.partition("+")[0].lower() for line in result.stdout.splitlines()}

    wanted = {line.lower() for line in (*PACKAGES_WITHOUT_DEPENDENCIES, *pinned_lines())} - {"mip==1.17.0"}
    assert wanted <= installed


@pytest.mark.slow
def test_library_of_the_environment_is_corrected(finn: Finn) -> None:
    for correction in CORRECTIONS:
        (path,) = finn.folder.glob(f"lib/python*/site-packages/{correction.file}")
        assert path.read_text().count(correction.new) == 1
        assert correction.old not in path.read_text()


def test_library_that_has_other_text_is_not_corrected(tmp_path: Path) -> None:
    for correction in CORRECTIONS:
        path = tmp_path / "lib/python3.11/site-packages" / correction.file
        path.parent.mkdir(parents=True)
        path.write_text("module other;")
    with pytest.raises(CorrectionError, match=r"mvu_vvu_axi\.sv has 0 times 'MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH;'"):
        apply_corrections(tmp_path)


@pytest.mark.slow
def test_environment_that_is_there_is_not_made_again(finn: Finn) -> None:
    lines: list[str] = []

    assert ensure_finn_environment(lines.append) == finn
    assert lines == []
    assert is_complete(finn.folder)


@pytest.mark.slow
def test_command_says_where_it_is(finn: Finn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == f"FINN+ 1.6.1 is ready: {finn.python}\n"


def test_other_pins_make_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_folder(tmp_path)
    changed = tmp_path / "requirements.txt"
    changed.write_text(REQUIREMENTS.read_text() + "six==1.17.0\n")
    monkeypatch.setattr(finn_environment, "REQUIREMENTS", changed)

    assert environment_folder(tmp_path) != before
    assert before.name.startswith("finn-1.6.1-")


def test_failed_installation_ends_with_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finn_environment, "PACKAGES_WITHOUT_DEPENDENCIES", ("finn-plus==0.0.0",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(
        FinnEnvironmentError, match=r"(?s)installing FINN\+ 1\.6\.1 ended with status 1.*finn-plus==0\.0\.0"
    ):
        ensure_finn_environment(lambda _: None, cache=tmp_path)

    assert not is_complete(environment_folder(tmp_path))


def test_half_made_environment_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker was killed: the interpreter is there, the mark of completeness is not."""
    monkeypatch.setattr(finn_environment, "PACKAGES_WITHOUT_DEPENDENCIES", ("finn-plus==0.0.0",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = environment_folder(tmp_path)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/env")
    lines: list[str] = []

    with pytest.raises(FinnEnvironmentError):
        ensure_finn_environment(lines.append, cache=tmp_path)

    assert "made once" in lines[0]


def test_second_maker_waits_for_the_first(tmp_path: Path) -> None:
    lines: list[str] = []
    stop = Event()
    with (tmp_path / (environment_folder(tmp_path).name + ".lock")).open("w") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        threading.Timer(1, stop.set).start()

        with pytest.raises(CommandStoppedError):
            ensure_finn_environment(lines.append, stop, cache=tmp_path)

    assert lines == ["FINN's environment is being made by another process; waiting for it"]
