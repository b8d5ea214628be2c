"""The native library is compiled once, by one process, and says why where it cannot be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunAtOnce
from workers.cpu.native_library import (
    INSTRUCTION_SETS,
    NativeLibraryError,
    available_instruction_sets,
    build_library,
    find_problem,
    load_library,
)

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture
def counting_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets CXX to g++ behind a script that notes each compilation; gives the file of notes."""
    notes, script = tmp_path / "compilations", tmp_path / "counting-g++"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo "$@" >> {notes}\nexec g++ "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return notes


def build_with(compiler: str, instruction_set: str, folder: Path) -> Path:
    """In a process that may have been started before CXX was set."""
    os.environ["CXX"] = compiler
    return build_library(instruction_set, folder)


@needs_compiler
@pytest.mark.slow
def test_library_is_compiled_once_by_one_of_many_processes(
    counting_compiler: Path, tmp_path: Path, run_at_once: RunAtOnce
) -> None:
    paths = run_at_once(build_with, os.environ["CXX"], "baseline", tmp_path / "cache")
    assert len(set(paths)) == 1
    assert paths[0].exists()
    assert len(counting_compiler.read_text().splitlines()) == 1
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".lock", ".so"]


@needs_compiler
@pytest.mark.slow
def test_another_compiler_or_instruction_set_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    first = build_library("baseline", folder)
    assert build_library("avx2", folder) != first
    script = tmp_path / "other-g++"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && echo another && exit\nexec g++ "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert build_library("baseline", folder) != first


def test_missing_compiler_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NativeLibraryError, match=r"there is no C\+\+ compiler: no-such-compiler is not found"):
        build_library("baseline", tmp_path)


def test_what_the_compiler_complains_about_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "failing-g++"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && exit\necho "error: no room on the moon" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(NativeLibraryError, match="could not compile the native code; its messages are in "):
        build_library("baseline", tmp_path / "cache")
    (report,) = (tmp_path / "cache").glob("*.log")
    assert "no room on the moon" in report.read_text()
    assert not list((tmp_path / "cache").glob("*.so"))


def test_unwritable_cache_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "true")
    (tmp_path / "file").touch()
    with pytest.raises(NativeLibraryError, match=f"{tmp_path}/file/cache, cannot be written"):
        build_library("baseline", tmp_path / "file" / "cache")


@needs_compiler
def test_folder_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(NativeLibraryError, match=r"shared may be written by other users; expected .*chmod go-w"):
        build_library("baseline", folder)
    assert list(folder.iterdir()) == []


def test_instruction_sets_of_this_cpu_end_at_the_baseline() -> None:
    available = available_instruction_sets()
    assert available == tuple(INSTRUCTION_SETS)[-len(available) :]
    assert available[-1] == "baseline"


@needs_compiler
def test_library_loads_where_there_is_a_compiler() -> None:
    assert find_problem() is None
    assert load_library() is load_library(available_instruction_sets()[0])
