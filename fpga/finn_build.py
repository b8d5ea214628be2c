"""One FINN build: a process of its own, its own folders, a timeout, and one clear line when it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event

from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.toolchain.machine_tools import TOOLS_OF_LEVEL, make_tool_variables
from fpga.toolchain.process_group import CommandTimeoutError, run_in_process_group, yield_to_others
from storage.artifacts import write_text_atomically
from storage.records import BuildLevel, BuildTarget

MAX_MESSAGE_LENGTH = 500

MAX_KILLS = 3
"""Times that FINN's process may be killed from outside, by `kill -9` or for want of memory; then the build fails."""

FULL_DISK_BYTES = 1 << 20
"""With less than this free, a failure is put down to the disk."""

LOG_TAIL_LINES = 40

LOG_ERROR = re.compile(r"ERROR:(?:FINN ERROR: |FINN INTERNAL COMPILER ERROR: )?(.+)")

LOG_STEP = re.compile(r"Running step: (\w+)")

LOG_EXCEPTION = re.compile(r"^(?:\w+\.)*(\w+(?:Error|Exception): .+)$", re.MULTILINE)

LOG_START = "FINN starts for level"
"""Each of its processes begins with this in the build's log."""


class FinnBuildError(Exception):
    """FINN did not finish the build; the text is one line that says why."""


class UnbuildableNetworkError(FinnBuildError):
    """One of FINN's steps refuses this network for this target, and would again."""


class FinnTimeoutError(FinnBuildError):
    """The build took longer than it may."""


class FinnKilledError(FinnBuildError):
    """Something killed FINN's process, again and again."""


@dataclass(frozen=True)
class FinnOutput:
    """What a finished build left behind."""

    report_folder: Path
    """FINN's estimates, JSON."""
    recorded_outputs: Path
    """What each form of the network gave for the recorded frames, .npz."""


def run_finn_build(
    finn: Finn,
    model: Path,
    proof: Path,
    target: BuildTarget,
    folder: Path,
    *,
    timeout_s: float,
    stop: Event,
    level: BuildLevel = BuildLevel.CODEGEN,
    lock: int | None = None,
    on_event: Callable[[str], None] = lambda _: None,
) -> FinnOutput:
    """Runs FINN's steps up to `level` in `folder`, which is this build's alone, behind those that are finished there.

    FINN's process inherits the file descriptor `lock`, and is started again where something killed it. Raises
    FinnBuildError, its subclasses where one fits, and CommandStoppedError once `stop` is set. No process is left.
    """
    request = make_request(model, target, folder) | {"proof": str(proof), "level": level.value}
    _run_request(finn, request, folder, level, timeout_s, stop, lock, on_event)
    return finn_output(folder)


def run_finn_estimate(
    finn: Finn,
    model: Path,
    target: BuildTarget,
    folder: Path,
    *,
    timeout_s: float,
    stop: Event,
    nice: int = 0,
    on_event: Callable[[str], None] = lambda _: None,
) -> Path:
    """FINN's estimate alone, without recorded frames; the path of network_report.json.

    A folding that stays below `target.target_fps` is no error. FINN runs with its niceness raised by `nice`, 0 to 19.
    Raises as `run_finn_build` does: UnbuildableNetworkError where FINN refuses the network, other FinnBuildError where
    time, memory or disk did not suffice or the request is wrong.
    """
    request = make_request(model, target, folder) | {"level": BuildLevel.ESTIMATE.value}
    _run_request(finn, request, folder, BuildLevel.ESTIMATE, timeout_s, stop, None, on_event, nice)
    return folder / "output" / "report" / "network_report.json"


def run_finn_sweep(
    finn: Finn,
    model: Path,
    target: BuildTarget,
    targets_fps: Sequence[int],
    folder: Path,
    *,
    timeout_s: float,
    stop: Event,
    lock: int | None = None,
    on_event: Callable[[str], None] = lambda _: None,
) -> Path:
    """Streamlines the network once and folds it for each throughput; the path of the results, sweep.json.

    Where the folder holds the streamlined network, only the foldings are made. Raises as `run_finn_build` does.
    """
    (folder / "output" / "intermediate_models" / "step_sweep_foldings.onnx").unlink(missing_ok=True)
    sweep = {"level": BuildLevel.ESTIMATE.value, "sweep_targets_fps": list(targets_fps)}
    request = make_request(model, target, folder) | sweep
    _run_request(finn, request, folder, BuildLevel.ESTIMATE, timeout_s, stop, lock, on_event)
    return folder / "output" / "sweep.json"


def make_request(model: Path, target: BuildTarget, folder: Path) -> dict[str, object]:
    """What every run of fpga/in_finn/steps.py is told."""
    return {
        "model": str(model),
        "output_dir": str(folder / "output"),
        "board": target.board,
        "clk_period_ns": target.clk_period_ns,
        "target_fps": target.target_fps,
        "output": target.output,
        "parent_pid": os.getpid(),
    }


def _run_request(
    finn: Finn,
    request: Mapping[str, object],
    folder: Path,
    level: BuildLevel,
    timeout_s: float,
    stop: Event,
    lock: int | None,
    on_event: Callable[[str], None],
    nice: int = 0,
) -> None:
    """Until FINN's process ended by itself, well or with a FinnBuildError."""
    (folder / "output").mkdir(parents=True, exist_ok=True)
    path = write_text_atomically(folder / "request.json", json.dumps(request, indent=2))
    command: tuple[str | Path, ...] = (*(yield_to_others(nice) if nice else ()), finn.python, IN_FINN, "build", path)
    deadline = time.monotonic() + timeout_s
    for n_killed in range(1, MAX_KILLS + 1):
        if n_finished := count_finished_steps(folder):
            on_event(f"goes on behind {n_finished} finished steps, which are not repeated")
        try:
            status = _run_finn(command, folder, level, deadline, stop, lock)
        except CommandTimeoutError:
            raise FinnTimeoutError(
                f"timeout_s is {timeout_s:g}; the build took longer and was killed in {last_step(folder)}"
            ) from None
        if status >= 0:
            break
        on_event(f"lost FINN to {signal.Signals(-status).name} in {last_step(folder)}, {n_killed} of {MAX_KILLS} times")
    if status != 0:
        raise _make_failure(folder, status)


def finn_output(folder: Path) -> FinnOutput:
    """What a finished build left in its folder."""
    return FinnOutput(folder / "output" / "report", folder / "output" / "recorded_outputs.npz")


def count_finished_steps(folder: Path) -> int:
    """How many of FINN's steps left their model, which they do at their end and by rename."""
    return len(list((folder / "output" / "intermediate_models").glob("step_*.onnx")))


def last_step(folder: Path) -> str:
    """The step that FINN's last process was in."""
    steps = LOG_STEP.findall(_read_last_attempt(folder))
    return steps[-1] if steps else "its start"


def read_log_tail(folder: Path) -> str | None:
    """The last lines of a build's log; None where there is none."""
    lines = _read(folder / "finn.log").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:]) or None


def _run_finn(
    command: Sequence[str | Path], folder: Path, level: BuildLevel, deadline: float, stop: Event, lock: int | None
) -> int:
    """The exit status of one process of FINN; negative where a signal killed it."""
    scratch, output, log = folder / "generated", folder / "output", folder / "finn.log"
    if not (output / "intermediate_models" / "step_hw_codegen.onnx").is_file():
        shutil.rmtree(scratch, ignore_errors=True)  # half of the code, of an attempt that was killed
    scratch.mkdir(exist_ok=True)
    for of_attempt_before in ("failure.json", "build_dataflow.log"):
        (output / of_attempt_before).unlink(missing_ok=True)
    with log.open("a") as file:
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {LOG_START} {level}\n")
    variables = make_finn_variables(scratch)
    if TOOLS_OF_LEVEL[level]:
        variables |= make_tool_variables()
    return run_in_process_group(
        command,
        log,
        timeout_s=deadline - time.monotonic(),
        stop=stop,
        environment=variables,
        keep_open=() if lock is None else (lock,),
        ends_by_itself=True,
    )


def _make_failure(folder: Path, status: int) -> FinnBuildError:
    """With one line: what a step left in failure.json, else the last error in FINN's log."""
    output, log = folder / "output", folder / "finn.log"
    if status < 0:
        return FinnKilledError(
            f"FINN was killed {MAX_KILLS} times, the last time in {last_step(folder)}; its log is {log}"
        )
    noted = output / "failure.json"
    if noted.is_file():
        failure = json.loads(noted.read_text())
        text = failure["error"] if failure["step"] == "request" else f"{failure['step']} failed: {failure['error']}"
        is_refused = failure["is_of_network"] and shutil.disk_usage(folder).free >= FULL_DISK_BYTES
        return (UnbuildableNetworkError if is_refused else FinnBuildError)(_to_line(text))
    errors = LOG_ERROR.findall(_read(output / "build_dataflow.log"))
    errors = errors or LOG_EXCEPTION.findall(_read_last_attempt(folder))
    return FinnBuildError(
        _to_line(errors[-1] if errors else f"FINN ended with status {status} in {last_step(folder)}; its log is {log}")
    )


def _to_line(text: str) -> str:
    return " ".join(text.split())[:MAX_MESSAGE_LENGTH]


def _read_last_attempt(folder: Path) -> str:
    return _read(folder / "finn.log").rpartition(LOG_START)[2]


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
