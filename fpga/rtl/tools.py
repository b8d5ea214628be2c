"""One call of Yosys, of Verilator or of what Verilator made: in a folder, behind all other work."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fpga.toolchain.process_group import LEAST, run_in_process_group, yield_to_others

KILLS = (-signal.SIGKILL, -signal.SIGTERM)

KILL_OF_CHILD = re.compile(r"threw signal (?:9|15)\b|\bKilled\b|[Cc]annot allocate memory")
"""What Verilator, make and g++ say where one that they started was killed, or found no memory."""


class ToolKilledError(Exception):
    """Something killed the tool, such as the kernel for want of memory; that says nothing about the layer."""


@dataclass(frozen=True)
class CheckRun:
    """How a build is checked."""

    n_frames: int
    """Recorded frames to simulate."""
    n_processes: int
    """Layers at once."""
    timeout_s: float
    """Of each call of a tool; a layer that takes longer has that as its note."""
    stop: Event
    on_event: Callable[[str], None]


@dataclass(frozen=True)
class Call:
    """What all calls for one build have in common."""

    timeout_s: float
    """Of each call."""
    stop: Event
    lock: int
    """Descriptor of the lock of the build's folder: it is held until the last tool that works there has ended."""


def run_tool(command: Sequence[str | Path], folder: Path, log: Path, call: Call) -> int:
    """The exit status; what the tool says goes to the end of `log`.

    Raises ToolKilledError, CommandTimeoutError, and CommandStoppedError once `stop` is set.
    """
    inside = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "tool", folder, *command)
    status = run_in_process_group(
        (*yield_to_others(LEAST), *inside), log, timeout_s=call.timeout_s, stop=call.stop, keep_open=(call.lock,)
    )
    if status in KILLS:
        raise ToolKilledError(f"{Path(command[0]).name} was killed by {signal.Signals(-status).name}")
    if status != 0 and (said := KILL_OF_CHILD.search(log.read_text(errors="replace"))):
        raise ToolKilledError(f"a process of {Path(command[0]).name} was killed: {said[0]}")
    return status
