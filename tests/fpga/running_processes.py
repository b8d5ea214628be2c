"""Which processes are alive, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")


def is_running(pid: int) -> bool:
    """False for one that has ended, also where nobody has waited for it yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def find_processes(argument: str) -> list[int]:
    """Processes with `argument` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        if argument in command and is_running(int(path.parent.name)):
            found.append(int(path.parent.name))
    return found


def find_users(paths: Iterable[Path]) -> list[int]:
    """Processes that have one of the files open, but this one."""
    wanted = {str(path.resolve()) for path in paths}
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue  # closed or ended meanwhile, or another user's
        if target in wanted:
            found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})


def wait_until(condition: Callable[[], Value], timeout_s: float) -> Value:
    """What the condition gave when that was true for the first time; after the timeout, what it gives then."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    return condition()
