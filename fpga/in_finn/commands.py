"""What FINN's Python can be asked for: check-imports, build REQUEST.json, rtl REQUEST.json.

Both ways to ask end here: a process of its own (__main__.py), and a fork of a server that has done its imports
(fpga/toolchain/forked_calls.py).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from .request import read_parent_pid, read_rtl_request, read_steps_request


def prepare() -> None:
    """Imports FINN, which takes seconds."""
    from . import steps  # noqa: F401


def main(arguments: list[str]) -> int:
    """Runs one command and returns its exit status."""
    match arguments:
        case ["check-imports"]:
            prepare()
            return 0
        case ["build", path]:
            from .steps import run_steps

            return run_steps(read_steps_request(Path(path)))
        case ["rtl", path]:
            from .rtl import write_layers_and_streams

            write_layers_and_streams(read_rtl_request(Path(path)))
            return 0
    raise SystemExit(f"the command is {' '.join(arguments)}; expected check-imports, build REQUEST or rtl REQUEST")


def run_program(arguments: list[str]) -> int:
    """As `main`, in a process of its own, which ends with the worker that the request names."""
    if len(arguments) == 2 and os.getppid() != 0:  # first in a container, which ends with its worker by container.py
        _die_with(read_parent_pid(Path(arguments[1])))
    return main(arguments)


def _die_with(parent_pid: int) -> None:
    """Kills this process group once the worker that started it is gone, by `kill -9` too.

    Not by storage.child_processes, which FINN's Python does not find.
    """

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(0.5)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
