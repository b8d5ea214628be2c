"""The processes that a run starts: build worker, estimate worker and dashboard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.child_processes import end_with_parent, module_environment
from storage.environment_variables import FINN_VARIABLE

FIRST_PORT = 8080
STOP_TIMEOUT_S = 20.0
LOOPBACK = "127.0.0.1"


class ServiceError(Exception):
    """A process of the run cannot be started."""


class Service:
    """A subprocess that ends with this process, also when that is killed. Its output goes to a log file."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        own_pid = os.getpid()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=module_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the driver, which then ends its services
                preexec_fn=lambda: end_with_parent(own_pid, signal.SIGTERM),
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def last_line(self) -> str:
        """The last line that it printed."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def describe_end(self) -> str | None:
        """One line with its exit code and last output; None while it runs."""
        if self.exit_code is None:
            return None
        last_line = self.last_line() or "it said nothing"
        return f"the {self.name} ended with exit code {self.exit_code}: {last_line}; see {self.log}"

    def stop(self) -> None:
        """Sends SIGTERM, and after STOP_TIMEOUT_S SIGKILL."""
        if self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def choose_finn(given: str | None) -> None:
    """Makes all workers of this run use an external FINN, by its Python or its image.

    Without `given`, the one that FPGA_FINN names is checked. Raises ServiceError where it cannot be used.
    """
    if not (given := given or os.environ.get(FINN_VARIABLE)):
        return
    command = [sys.executable, "-m", "fpga.external_finn", given]
    checked = subprocess.run(command, env=module_environment(), capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise ServiceError(checked.stderr.strip())
    os.environ[FINN_VARIABLE] = given


@contextmanager
def run_build_worker(database_url: str, artifacts: Path, log: Path) -> Iterator[Service]:
    """Runs a build worker inside the block. It makes FINN's environment where that is missing."""
    arguments = ["fpga.run", "--database", database_url, "--artifacts", str(artifacts)]
    service = Service("build worker", arguments, log)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def run_estimate_worker(database_url: str, artifacts: Path, n_processes: int, log: Path) -> Iterator[Service]:
    """Runs an estimate worker inside the block. It makes FINN's environment where that is missing."""
    options = ["--storage", database_url, "--artifacts", str(artifacts), "--processes", str(n_processes)]
    service = Service("estimate worker", ["fpga.estimate_worker", *options], log)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def run_dashboard(database_url: str, artifacts: Path, study_name: str, port: int, log: Path) -> Iterator[Service]:
    """Runs the dashboard inside the block, on the loopback interface."""
    options = ["--storage", database_url, "--artifacts", str(artifacts), "--study", study_name]
    service = Service("dashboard", ["dashboards.run", *options, "--host", LOOPBACK, "--port", str(port)], log)
    try:
        yield service
    finally:
        service.stop()


def find_free_port(wanted: int | None = None) -> int:
    """The wanted port, or the first free one from FIRST_PORT on. Raises ServiceError where none is free."""
    candidates = range(FIRST_PORT, FIRST_PORT + 100) if wanted is None else (wanted,)
    for port in candidates:
        if _is_free(port):
            return port
    raise ServiceError(
        f"the dashboard's port is {candidates[0]}{'' if wanted else f' to {candidates[-1]}'}; expected one that "
        "no other program listens on: give it with --dashboard-port, or go without it with --no-dashboard"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
