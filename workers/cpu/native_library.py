"""The C++ of the fused layers as a library: compiled on first use, kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import platformdirs
import torch
from filelock import FileLock

SOURCE_FOLDER = Path(__file__).parent / "native"

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-pthread")
"""Without -ffp-contract=off the compiler would fuse products and sums where it likes, which rounds differently."""

_AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma")

INSTRUCTION_SETS: dict[str, tuple[str, ...]] = {
    "avx512vnni": (*_AVX512, "-mavx512vnni"),
    "avx512": _AVX512,
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
}
"""Compiler flags by instruction set, the fastest first. A CPU that has one has all that follow."""

COMPILE_TIMEOUT_S = 300

log = logging.getLogger(__name__)


class NativeLibraryError(RuntimeError):
    """The library is not available on this machine; the message says why."""


def available_instruction_sets() -> tuple[str, ...]:
    """Those of INSTRUCTION_SETS that this CPU has, the fastest first."""
    names = list(INSTRUCTION_SETS)
    fastest = {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    if fastest == "avx512" and torch.cpu.get_capabilities().get("avx512_vnni", False):
        fastest = "avx512vnni"
    return tuple(names[names.index(fastest) :])


def find_problem() -> str | None:
    """Why the library is not available here, in one line; None where it is."""
    try:
        load_library()
    except NativeLibraryError as error:
        return str(error)
    return None


def load_library(instruction_set: str | None = None) -> ctypes.CDLL:
    """The library for one of `available_instruction_sets()`, by default the fastest. Compiles it if it is not cached.

    Raises NativeLibraryError. A failure is remembered: the next call fails at once.
    """
    library = _load_once(instruction_set or available_instruction_sets()[0])
    if isinstance(library, NativeLibraryError):
        raise library
    return library


@functools.cache
def _load_once(instruction_set: str) -> ctypes.CDLL | NativeLibraryError:
    try:
        return ctypes.CDLL(str(build_library(instruction_set, default_cache_folder())))
    except NativeLibraryError as error:
        return error
    except OSError as error:
        return NativeLibraryError(f"the compiled native code cannot be loaded: {error}")


def default_cache_folder() -> Path:
    """Where compiled libraries are kept for this user."""
    return Path(platformdirs.user_cache_dir("fpga-modulation-search")) / "native"


def build_library(instruction_set: str, folder: Path) -> Path:
    """The library's file in `folder`, compiled if it is not there. Of many processes that ask at once, one compiles.

    The file's name has a hash of the sources, the compiler's version and the flags. Raises NativeLibraryError.
    """
    compiler = _find_compiler()
    flags = (*FLAGS, *INSTRUCTION_SETS[instruction_set])
    path = folder / f"layers-{instruction_set}-{_hash_inputs(compiler, flags)}.so"
    for trusted in (folder, path):
        _check_nobody_else_writes(trusted)
    if path.exists():
        return path
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), fallback_to_soft=False):
            if not path.exists():
                _compile(compiler, flags, path)
    except OSError as error:
        raise NativeLibraryError(f"the cache folder of native code, {folder}, cannot be written: {error}") from error
    return path


def _check_nobody_else_writes(path: Path) -> None:
    """Loaded code runs with this user's rights. Raises NativeLibraryError where another user could change it."""
    if not path.exists():
        return
    state = path.stat()
    if state.st_uid != os.getuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NativeLibraryError(
            f"{path} may be written by other users; expected a path that only this user owns and writes (chmod go-w)"
        )


def _find_compiler() -> str:
    wanted = os.environ.get("CXX", "g++")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise NativeLibraryError(
            f"there is no C++ compiler: {wanted} is not found; install it, or name another in the variable CXX"
        )
    return compiler


def _hash_inputs(compiler: str, flags: tuple[str, ...]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(repr((version, flags, platform.machine(), platform.libc_ver())).encode())
    for source in sorted(SOURCE_FOLDER.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(compiler: str, flags: tuple[str, ...], path: Path) -> None:
    """Raises NativeLibraryError. The compiler's messages are then in a file beside `path`."""
    log.info("compiling native code as %s; this happens once on a machine", path.stem)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="compile-") as name:
        result = Path(name) / path.name
        command = [compiler, *flags, *map(str, sorted(SOURCE_FOLDER.glob("*.cpp"))), "-o", str(result)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise NativeLibraryError(f"{compiler} took longer than {COMPILE_TIMEOUT_S} s") from error
        if run.returncode:
            report = path.with_suffix(".log")
            report.write_text(f"{' '.join(command)}\n{run.stdout}{run.stderr}")
            raise NativeLibraryError(f"{compiler} could not compile the native code; its messages are in {report}")
        result.replace(path)
