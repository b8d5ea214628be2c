"""How a process of ours starts another one: where that finds our modules, and how it ends with its parent."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from signal import Signals

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
"""The folder of our packages: the checkout, or site-packages."""

LIBC = ctypes.CDLL(None)
"""Loaded here: between fork and exec it might be too late for that."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal to get when the thread that started this process ends; from linux/prctl.h."""


def module_environment() -> dict[str, str]:
    """This process's environment, in which `python -m` finds our modules from any folder, installed or not."""
    if not (PROJECT_FOLDER / "pyproject.toml").is_file():  # installed
        return dict(os.environ)
    paths = [str(PROJECT_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def end_with_parent(parent_pid: int, signal: Signals) -> None:
    """Linux: this process gets `signal` when its parent dies, by `kill -9` too. Elsewhere it goes on.

    For the `preexec_fn` of a subprocess; `parent_pid` is the id of the process that starts it.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent_pid:  # it died before the line above
            os._exit(1)
