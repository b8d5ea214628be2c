"""Which processes are alive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import psutil

Value = TypeVar("Value")


def is_running(pid: int) -> bool:
    """False for one that has ended, also where nobody has waited for it yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def find_processes(argument: str) -> list[int]:
    """Processes with `argument` in their command line."""
    processes = psutil.process_iter(["pid", "cmdline"])
    return [process.pid for process in processes if argument in (process.info["cmdline"] or ())]


def find_users(paths: Iterable[Path]) -> list[int]:
    """Processes that have one of the files open, but this one."""
    wanted = {str(path.resolve()) for path in paths}
    processes = psutil.process_iter(["pid", "open_files"])
    return [
        process.pid
        for process in processes
        if process.pid != os.getpid() and any(file.path in wanted for file in process.info["open_files"] or ())
    ]


def wait_until(condition: Callable[[], Value], timeout_s: float) -> Value:
    """What the condition gave when that was true for the first time; after the timeout, what it gives then."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    return condition()
