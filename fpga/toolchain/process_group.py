"""Runs one command in a process group of its own, and leaves no process of it behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from threading import Event

from storage.child_processes import end_with_parent

POLL_S = 0.2

END_S = 10
"""Seconds to wait for a process outside the group that holds the output and ends by itself."""

LEAST = 19
"""The niceness of what all other work comes before."""

YIELD = """if [ -w /proc/self/autogroup ]; then
for attempt in 1 2 3; do { echo "$0" > /proc/self/autogroup; } 2> /dev/null && break; sleep 0.2; done
fi
exec nice -n "$0" "$@\""""
"""Linux weighs sessions against each other before it looks at niceness, where autogroups are on (sched(7)); so the
session of the command is told, too. Where there are none, or a write comes too soon, niceness alone counts.
"""


class CommandTimeoutError(Exception):
    """The command did not end in its time; it and its children are killed."""


class CommandStoppedError(Exception):
    """The worker was told to stop; the command and its children are killed."""


def run_in_process_group(
    command: Sequence[str | Path],
    log: Path,
    *,
    timeout_s: float,
    stop: Event,
    environment: Mapping[str, str] | None = None,
    on_wait: Callable[[], None] | None = None,
    keep_open: Collection[int] = (),
    ends_by_itself: bool = False,
) -> int:
    """The command's exit status; all it prints goes to the end of `log`.

    `on_wait` is called a few times a second meanwhile; the command inherits the file descriptors `keep_open`.
    Raises CommandTimeoutError after `timeout_s` seconds and CommandStoppedError when `stop` is set; however this
    function ends, the whole process group is gone, and what has the output from it (a fork server's call). Where
    this process is killed, so is the command, but not what that started; a command that `ends_by_itself` then, with all
    it started, is left to do so.
    """
    own_pid = os.getpid()
    with log.open("ab") as output:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(output, fcntl.LOCK_SH)
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            pass_fds=tuple(keep_open),
            preexec_fn=None if ends_by_itself else lambda: end_with_parent(own_pid, signal.SIGKILL),
        )
    try:
        return _wait(process, time.monotonic() + timeout_s, stop, on_wait)
    finally:
        kill_process_group(process)
        _wait_until_closed(log)


def yield_to_others(niceness: int) -> tuple[str, ...]:
    """What goes before a command, started in its own session, so that all other work has priority."""
    return ("sh", "-c", YIELD, str(niceness))


def kill_process_group(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and all children it started, and waits for it.

    By the kernel's process group: psutil's list of children lacks those whose parent has ended.
    """
    with contextlib.suppress(ProcessLookupError):  # all of them have ended already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_closed(log: Path) -> None:
    """Waits until nobody has the output open: a lock is held as long as one process has the file that was locked.

    By a lock: psutil would read the open files of all processes, and not see those of another user.
    """
    deadline = time.monotonic() + END_S
    with contextlib.suppress(OSError), log.open("rb") as output:  # the log is gone, or its file system has no locks
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.02)


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: Event, on_wait: Callable[[], None] | None) -> int:
    while process.poll() is None:
        if stop.wait(POLL_S):
            raise CommandStoppedError
        if time.monotonic() > deadline:
            raise CommandTimeoutError
        if on_wait is not None:
            on_wait()
    return process.returncode
