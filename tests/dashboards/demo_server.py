"""The dashboard as people start it: a process of its own on a free port of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    address: str
    """http://127.0.0.1:PORT"""


def run_module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m ...` in `folder`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=60
    )


@contextmanager
def running_server(folder: Path, *arguments: str) -> Iterator[Server]:
    """`python -m dashboards.run` in `folder`. The end of the block ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboards.run", "--port", "0", *arguments],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        greeting = process.stdout.readline()
        assert greeting.startswith("Dashboard: http://127.0.0.1:"), f"{greeting}{process.poll()}"
        yield Server(process, greeting.split()[1].partition("/dashboard")[0])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _environment() -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "DASHBOARD_TOKEN"}
    return variables | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
