"""FINN+ in a virtual environment of its own, made on first use: it needs other versions than training does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import platformdirs
from filelock import FileLock, Timeout

from fpga.toolchain.finn import Finn, FinnKind, python_in
from fpga.toolchain.finnlib_corrections import CORRECTIONS, CorrectionError, apply_corrections
from fpga.toolchain.process_group import CommandStoppedError, CommandTimeoutError, run_in_process_group
from storage.artifacts import write_text_atomically
from storage.commands import make_parser

FINN_VERSION = "1.6.1"

PACKAGES_WITHOUT_DEPENDENCIES = (f"finn-plus=={FINN_VERSION}", "qonnx==1.0.0", "onnx-passes==0.4.1", "mip==1.17.0")
"""They ask for packages that exclude each other, or that no build here uses (a solver of 600 MB)."""

REQUIREMENTS = Path(__file__).with_name("finn_requirements.txt")

IN_FINN = Path(__file__).parents[1] / "in_finn"
"""Our package that runs in FINN's Python: `python IN_FINN COMMAND ARGUMENT...`."""

INSTALL_TIMEOUT_S = 1800

HEARTBEAT_S = 15

LOCK_POLL_S = 0.5

LOG_TAIL_LINES = 5

Progress = Callable[[str], None]


class FinnEnvironmentError(Exception):
    """FINN's environment cannot be made; the text ends with what pip said."""


def ensure_finn_environment(
    on_progress: Progress = print, stop: Event | None = None, cache: Path | None = None
) -> Finn:
    """The FINN of the made environment. Makes it where it is missing: a minute, 1.3 GB, network.

    It lies in the user's cache folder, named by version and pins, so that new pins make a new one. A second maker at
    the same time waits. Raises FinnEnvironmentError, and CommandStoppedError once `stop` is set.
    """
    stop = stop or Event()
    folder = environment_folder(cache)
    if not is_complete(folder):
        make_cache_folder(folder.parent)
        with _lock(folder.with_name(folder.name + ".lock"), on_progress, stop):
            if not is_complete(folder):
                _make_environment(_Making(folder, on_progress, stop))
    return Finn.in_folder(folder, FinnKind.MADE)


def make_cache_folder(folder: Path) -> None:
    """Makes the folder where it is missing. Raises FinnEnvironmentError where it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = None if os.access(folder, os.W_OK) else "it cannot be written"
    except OSError as error:
        problem = error.strerror
    if problem:
        raise FinnEnvironmentError(
            f"the cache folder is {folder}: {problem}; expected one to write to: set XDG_CACHE_HOME to such a folder"
        )


def environment_folder(cache: Path | None = None) -> Path:
    """Where the environment lies for these pins and this Python, whether or not it is there."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pins = "\n".join((*PACKAGES_WITHOUT_DEPENDENCIES, REQUIREMENTS.read_text(), python, repr(CORRECTIONS)))
    name = f"finn-{FINN_VERSION}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    return (cache or platformdirs.user_cache_path("fpga-modulation-search")) / name


def is_complete(folder: Path) -> bool:
    """Whether the environment was installed, checked, and still has its interpreter."""
    return (folder / "complete.json").is_file() and python_in(folder).exists()


def make_finn_variables(scratch: Path) -> dict[str, str]:
    """The environment variables that FINN runs with. What it writes beside its output goes to `scratch`."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return variables | {
        "FINN_BUILD_DIR": str(scratch),
        "FINN_SETTINGS": str(scratch / "settings.yaml"),
        "HOME": str(scratch),
        "NUM_DEFAULT_WORKERS": "1",
        "OMP_NUM_THREADS": "1",
        # FINN reads a version from the end of this path and runs nothing there for estimates and code generation
        "XILINX_VIVADO": os.environ.get("XILINX_VIVADO", "/opt/none/Vivado/2022.2"),
    }


def main(arguments: list[str] | None = None) -> int:
    """`python -m fpga.finn_environment`: makes the environment when it is missing, and says where it is."""
    parser = make_parser(prog="python -m fpga.finn_environment", description=main.__doc__)
    parser.parse_args(arguments)
    try:
        finn = ensure_finn_environment(lambda line: print(line, flush=True))
    except FinnEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the next call starts over", file=sys.stderr)
        return 130
    print(f"FINN+ {FINN_VERSION} is ready: {finn.python}")
    return 0


@dataclass(frozen=True)
class _Making:
    """One making of the environment."""

    folder: Path
    on_progress: Progress
    stop: Event
    started: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> Path:
        """What pip and FINN say."""
        return self.folder.with_name(self.folder.name + ".log")

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.monotonic() - self.started


def _make_environment(making: _Making) -> None:
    folder, scratch = making.folder, making.folder / "scratch"
    making.log.unlink(missing_ok=True)
    pip = (python_in(folder), "-m", "pip", "install", "--no-input", "--no-compile", "--disable-pip-version-check")
    steps: tuple[tuple[str, tuple[str | Path, ...]], ...] = (
        ("making a virtual environment", (sys.executable, "-m", "venv", "--clear", folder)),
        (f"installing FINN+ {FINN_VERSION}", (*pip, "--no-deps", *PACKAGES_WITHOUT_DEPENDENCIES)),
        ("installing what it needs", (*pip, "-r", REQUIREMENTS)),
        ("loading it once", (python_in(folder), IN_FINN, "check-imports")),
    )
    shutil.rmtree(folder, ignore_errors=True)
    making.on_progress(f"FINN's environment is made once, a minute or two and 1.3 GB: {folder}")
    for title, command in steps:
        _run_step(title, command, making, dict(os.environ) if "pip" in command else make_finn_variables(scratch))
        scratch.mkdir(exist_ok=True)
    try:
        apply_corrections(folder)
    except CorrectionError as error:
        raise FinnEnvironmentError(f"FINN's environment could not be made: {error}") from None
    noted = json.dumps({"finn": FINN_VERSION, "seconds": round(making.seconds)})
    write_text_atomically(folder / "complete.json", noted)
    making.on_progress(f"FINN's environment is ready after {making.seconds:.0f} s")


def _run_step(title: str, command: Sequence[str | Path], making: _Making, variables: dict[str, str]) -> None:
    """Raises FinnEnvironmentError where the command fails."""
    reported = time.monotonic()

    def report() -> None:
        nonlocal reported
        if time.monotonic() - reported > HEARTBEAT_S:
            reported = time.monotonic()
            making.on_progress(f"FINN's environment: {title}, {making.seconds:.0f} s so far")

    making.on_progress(f"FINN's environment: {title} ({making.seconds:.0f} s)")
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # loading it once writes the bytecode that each build then loads
    log = making.log
    try:
        status = run_in_process_group(
            command, log, timeout_s=INSTALL_TIMEOUT_S, stop=making.stop, environment=variables, on_wait=report
        )
    except CommandTimeoutError:
        raise FinnEnvironmentError(f"{title} took more than {INSTALL_TIMEOUT_S} s; the log is {log}") from None
    if status != 0:
        raise FinnEnvironmentError(
            f"FINN's environment could not be made: {title} ended with status {status}. It needs network (or a pip "
            f"configuration that finds the packages) and 1.3 GB of disk; the whole log is {log}. It ends:\n{_tail(log)}"
        )


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-LOG_TAIL_LINES:])


@contextmanager
def _lock(path: Path, on_progress: Progress, stop: Event) -> Iterator[None]:
    """Lets one maker at a time in; the lock falls with its process. Raises CommandStoppedError once `stop` is set."""
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_progress("FINN's environment is being made by another process; waiting for it")
        try:
            lock.acquire(poll_interval=LOCK_POLL_S, cancel_check=stop.is_set)
        except Timeout:
            raise CommandStoppedError from None
    try:
        yield
    finally:
        lock.release()
