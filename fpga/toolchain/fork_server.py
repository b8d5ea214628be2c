"""Fork servers: Pythons that have done their imports, and fork a process for each call."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.toolchain.process_group import kill_process_group, yield_to_others
from storage.child_processes import module_environment

FORKED_CALLS = Path(__file__).with_name("forked_calls.py")

BACKLOG = 64
"""Calls that may wait for the imports."""


@dataclass(frozen=True)
class EstimatorPythons:
    """The two programs that an estimate takes."""

    export: Path
    """Runs workers.architecture_export."""
    finn: Finn
    """Whose Python runs FINN's steps."""


@contextmanager
def start_fork_servers(finn: Finn, niceness: int) -> Iterator[EstimatorPythons]:
    """Both programs as calls of fork servers: imports take as long as an estimate. A container's FINN has none."""
    export = fork_server(Path(sys.executable), "workers.architecture_export", module_environment(), niceness)
    with tempfile.TemporaryDirectory(prefix="finn-") as scratch, export as export_python:
        if finn.is_container:
            yield EstimatorPythons(export_python, finn)
            return
        with fork_server(
            finn.python, str(IN_FINN / "commands.py"), make_finn_variables(Path(scratch)), niceness
        ) as finn_python:
            yield EstimatorPythons(export_python, replace(finn, python=finn_python))


@contextmanager
def fork_server(python: Path, module: str, variables: Mapping[str, str], niceness: int) -> Iterator[Path]:
    """A program to call as `python FILE ARGUMENT...`: a fork of the server runs `module.main(arguments)`.

    The call behaves as a process of `python`. It is one where the server has died, or where the temporary folder takes
    no socket or lets nothing be run. The module is imported with the environment `variables`; a call has its caller's.
    """
    with tempfile.TemporaryDirectory(prefix="fork-server-") as name:
        path, program = Path(name) / "socket", Path(name) / "python"
        here = [str(FORKED_CALLS), "call", str(path), str(python)]
        program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", *here])} "$@"\n')
        program.chmod(0o700)
        server = _start_server(python, module, path, variables, niceness) if os.access(program, os.X_OK) else None
        if server is None:
            yield python
            return
        try:
            yield program
        finally:
            kill_process_group(server)


def _start_server(
    python: Path, module: str, path: Path, variables: Mapping[str, str], niceness: int
) -> subprocess.Popen[bytes] | None:
    """None where the socket's path has more than the about 100 characters that Linux allows."""
    with socket.socket(socket.AF_UNIX) as listener:  # of the fork server alone, so that it ends with that
        try:
            listener.bind(str(path))
        except OSError:
            return None
        listener.listen(BACKLOG)
        command: tuple[str | Path, ...] = (*yield_to_others(niceness), python, FORKED_CALLS, "serve")
        return subprocess.Popen(
            (*command, str(listener.fileno()), str(os.getpid()), module),
            env={**variables, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the worker, which then ends it
            pass_fds=(listener.fileno(),),
        )
