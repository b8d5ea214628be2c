"""One FINN build: a process of its own, its own folders, a timeout, and one clear line when it fails."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fpga.finn_environment import FINN_STEPS, make_finn_variables
from fpga.process_group import CommandTimeoutError, run_in_process_group
from storage.artifacts import write_text_atomically
from storage.records import BuildTarget

DEFAULT_LEVEL = "codegen"

MAX_MESSAGE_LENGTH = 500

LOG_ERROR = re.compile(r"ERROR:(?:FINN ERROR: |FINN INTERNAL COMPILER ERROR: )?(.+)")

LOG_STEP = re.compile(r"Running step: (\w+)")


class FinnBuildError(Exception):
    """FINN did not finish the build; the text is one line that says why."""


@dataclass(frozen=True)
class FinnOutput:
    """What a finished build left behind."""

    report_folder: Path
    """FINN's estimates, JSON."""
    streamlined_outputs: Path
    """Classes and logits of the recorded frames from FINN's streamlined graph, .npz."""


def run_finn_build(
    python: Path,
    model: Path,
    proof: Path,
    target: BuildTarget,
    folder: Path,
    *,
    timeout_s: float,
    stop: Event,
    level: str = DEFAULT_LEVEL,
) -> FinnOutput:
    """Runs all of FINN's steps up to `level` ("estimate" or "codegen") in `folder`, which is this build's alone.

    `python` is the interpreter of FINN's environment. Raises FinnBuildError, also after `timeout_s` seconds, and
    CommandStoppedError once `stop` is set; in each case no process is left.
    """
    output, scratch, log = folder / "output", folder / "generated", folder / "finn.log"
    for made in (output, scratch):
        made.mkdir(parents=True, exist_ok=True)
    request = write_text_atomically(
        folder / "request.json",
        json.dumps(
            {
                "model": str(model),
                "proof": str(proof),
                "output_dir": str(output),
                "board": target.board,
                "clk_period_ns": target.clk_period_ns,
                "target_fps": target.target_fps,
                "level": level,
                "parent_pid": os.getpid(),
            },
            indent=2,
        ),
    )
    command = (python, FINN_STEPS, request)
    try:
        status = run_in_process_group(
            command, log, timeout_s=timeout_s, stop=stop, environment=make_finn_variables(scratch)
        )
    except CommandTimeoutError:
        raise FinnBuildError(
            f"timeout_s is {timeout_s:g}; the build took longer and was killed in {_last_step(log)}"
        ) from None
    if status != 0:
        raise FinnBuildError(_describe_failure(output, log, status))
    return FinnOutput(output / "report", output / "streamlined_outputs.npz")


def _describe_failure(output: Path, log: Path, status: int) -> str:
    """One line: what a step left in failure.json, else the last error in FINN's log."""
    noted = output / "failure.json"
    if noted.is_file():
        failure = json.loads(noted.read_text())
        text = failure["error"] if failure["step"] == "request" else f"{failure['step']} failed: {failure['error']}"
    else:
        errors = LOG_ERROR.findall(_read(output / "build_dataflow.log"))
        text = errors[-1] if errors else f"FINN ended with status {status} in {_last_step(log)}; its log is {log}"
    return " ".join(text.split())[:MAX_MESSAGE_LENGTH]


def _last_step(log: Path) -> str:
    steps = LOG_STEP.findall(_read(log))
    return steps[-1] if steps else "its start"


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
