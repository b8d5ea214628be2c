"""The processes that a run starts beside itself: the build worker, the estimate worker and the dashboard."""

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
    """A process beside the run cannot be started."""


class Service:
    """A subprocess that ends with this one, however this one ends; its output goes to a log file."""

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
        """What it printed last."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def describe_end(self) -> str | None:
        """That it ended, and its last line; None while it runs."""
        if self.exit_code is None:
            return None
        last_line = self.last_line() or "it said nothing"
        return f"the {self.name} ended with exit code {self.exit_code}: {last_line}; see {self.log}"

    def stop(self) -> None:
        """Asks it to end, and ends it where it does not."""
        if self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def choose_finn(given: str | None) -> None:
    """Lets all that this run starts use an existing FINN, its python or an image. Raises ServiceError where it cannot.

    Without `given`, what the environment variable FPGA_FINN says is checked.
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
    """A build worker for the length of the block; it makes FINN's environment first where that is missing."""
    arguments = ["fpga.run", "--database", database_url, "--artifacts", str(artifacts)]
    service = Service("build worker", arguments, log)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def run_estimate_worker(database_url: str, artifacts: Path, n_processes: int, log: Path) -> Iterator[Service]:
    """A maker of hardware estimates for the length of the block; it makes FINN's environment where that is missing."""
    options = ["--storage", database_url, "--artifacts", str(artifacts), "--processes", str(n_processes)]
    service = Service("estimate worker", ["fpga.estimate_worker", *options], log)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def run_dashboard(database_url: str, artifacts: Path, study_name: str, port: int, log: Path) -> Iterator[Service]:
    """The dashboard for the length of the block, on the loopback interface."""
    options = ["--storage", database_url, "--artifacts", str(artifacts), "--study", study_name]
    service = Service("dashboard", ["dashboards.run", *options, "--host", LOOPBACK, "--port", str(port)], log)
    try:
        yield service
    finally:
        service.stop()


def find_free_port(wanted: int | None = None) -> int:
    """The wanted port, else the first from FIRST_PORT on that nothing listens on. Raises ServiceError."""
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
