"""One FINN build: a process of its own, its own folders, a timeout, and one clear line when it fails."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Event

from fpga.in_finn.network_report import NetworkReport, SweptFolding
from fpga.in_finn.request import StepsRequest
from fpga.in_finn.step_failure import FAILURE_FILE, REQUEST, read_failure
from fpga.reports import read_network_report
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.toolchain.machine_tools import TOOLS_OF_LEVEL, make_tool_variables
from fpga.toolchain.process_group import CommandTimeoutError, run_in_process_group, yield_to_others
from storage.artifacts import write_text_atomically
from storage.records import BuildLevel, BuildTarget

REQUEST_FILE = "request.json"

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
    """One of FINN's steps refuses this network for this target; another attempt would fail, too."""


class FinnTimeoutError(FinnBuildError):
    """The build took longer than its timeout."""


class FinnKilledError(FinnBuildError):
    """Something killed FINN's process MAX_KILLS times."""


@dataclass(frozen=True)
class FinnOutput:
    """What a finished build left behind."""

    report_folder: Path
    """FINN's estimates, JSON."""
    recorded_outputs: Path
    """What each form of the network gave for the recorded frames, .npz."""


@dataclass(frozen=True)
class FinnRun:
    """How FINN is run."""

    timeout_s: float
    stop: Event
    """Once it is set, FINN is killed."""
    lock: int | None = None
    """The descriptor of a lock, which FINN's process inherits."""
    niceness: int = 0
    """0 to 19, by which FINN gives way."""
    on_event: Callable[[str], None] = lambda _: None
    """Told when FINN goes on behind finished steps, or was killed."""


def run_finn_build(finn: Finn, request: StepsRequest, run: FinnRun) -> FinnOutput:
    """Runs FINN's steps up to the request's level. Steps that are finished in the folder are not repeated.

    FINN is started again where something killed it. Raises FinnBuildError, or the subclass that fits, and
    CommandStoppedError once `run.stop` is set. No process is left.
    """
    _run_request(finn, request, run)
    return finn_output(request.folder)


def run_finn_estimate(finn: Finn, request: StepsRequest, run: FinnRun) -> NetworkReport:
    """Has FINN estimate a network, without recorded frames. A folding below the target is no error.

    Raises UnbuildableNetworkError where FINN refuses the network. Raises other FinnBuildError where time, memory or
    disk did not suffice or the request is wrong, and ReportError where FINN left no estimate.
    """
    _run_request(finn, request, run)
    return read_network_report(finn_output(request.folder).report_folder)


def run_finn_sweep(finn: Finn, request: StepsRequest, run: FinnRun) -> tuple[SweptFolding, ...]:
    """Streamlines the network once and folds it for each throughput of the request. Raises as `run_finn_build` does.

    Where the folder holds the streamlined network, only the foldings are made.
    """
    (request.output_dir / "intermediate_models" / "step_sweep_foldings.onnx").unlink(missing_ok=True)
    _run_request(finn, request, run)
    written = json.loads((request.output_dir / "sweep.json").read_text())
    return tuple(SweptFolding.from_json(values) for values in written["points"])


def make_build_request(
    model: Path, reference_vectors: Path, target: BuildTarget, folder: Path, level: BuildLevel
) -> StepsRequest:
    """A build up to `level` in `folder`, which is this build's alone."""
    return replace(make_estimate_request(model, target, folder), reference_vectors=reference_vectors, level=level)


def make_estimate_request(model: Path, target: BuildTarget, folder: Path) -> StepsRequest:
    """FINN's estimate alone."""
    return StepsRequest(
        model=model,
        output_dir=folder / "output",
        board=target.board,
        clk_period_ns=target.clk_period_ns,
        target_fps=target.target_fps,
        output=target.output,
        level=BuildLevel.ESTIMATE.value,
    )


def make_sweep_request(model: Path, targets: Sequence[BuildTarget], folder: Path) -> StepsRequest:
    """An estimate for each of several targets, which differ in frames/s alone."""
    fastest = max(targets, key=lambda target: target.target_fps)
    targets_fps = tuple(target.target_fps for target in targets)
    return replace(make_estimate_request(model, fastest, folder), sweep_targets_fps=targets_fps)


def _run_request(finn: Finn, request: StepsRequest, run: FinnRun) -> None:
    """Runs FINN until it ends. Raises FinnBuildError where it fails."""
    folder = request.folder
    request.output_dir.mkdir(parents=True, exist_ok=True)
    path = write_text_atomically(folder / REQUEST_FILE, request.to_json())
    gives_way = yield_to_others(run.niceness) if run.niceness else ()
    command: list[str | Path] = [*gives_way, finn.python, IN_FINN, "build", path]
    deadline = time.monotonic() + run.timeout_s
    for n_killed in range(1, MAX_KILLS + 1):
        if n_finished := count_finished_steps(folder):
            run.on_event(f"goes on behind {n_finished} finished steps, which are not repeated")
        try:
            status = _run_finn(command, request, run, deadline)
        except CommandTimeoutError:
            raise FinnTimeoutError(
                f"timeout_s is {run.timeout_s:g}; the build took longer and was killed in {last_step(folder)}"
            ) from None
        if status >= 0:
            break
        name = signal.Signals(-status).name
        run.on_event(f"lost FINN to {name} in {last_step(folder)}, {n_killed} of {MAX_KILLS} times")
    if status != 0:
        raise _make_failure(folder, status)


def finn_output(folder: Path) -> FinnOutput:
    """What a finished build left in its folder."""
    return FinnOutput(folder / "output" / "report", folder / "output" / "recorded_outputs.npz")


def count_finished_steps(folder: Path) -> int:
    """How many of FINN's steps left their model. A step writes it last, and by rename."""
    return len(list((folder / "output" / "intermediate_models").glob("step_*.onnx")))


def last_step(folder: Path) -> str:
    """The step that FINN's last process was in."""
    steps = LOG_STEP.findall(_read_last_attempt(folder))
    return steps[-1] if steps else "its start"


def read_log_tail(folder: Path) -> str | None:
    """The last lines of a build's log; None where there is none."""
    lines = _read(folder / "finn.log").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:]) or None


def _run_finn(command: Sequence[str | Path], request: StepsRequest, run: FinnRun, deadline: float) -> int:
    """The exit status of one process of FINN; negative where a signal killed it."""
    folder, level = request.folder, BuildLevel(request.level)
    scratch, log = folder / "generated", folder / "finn.log"
    _remove_leftovers(request, scratch)
    with log.open("a") as file:
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {LOG_START} {level}\n")
    return run_in_process_group(
        command,
        log,
        timeout_s=deadline - time.monotonic(),
        stop=run.stop,
        environment=make_finn_variables(scratch) | (make_tool_variables() if TOOLS_OF_LEVEL[level] else {}),
        keep_open=() if run.lock is None else (run.lock,),
        ends_by_itself=True,
    )


def _remove_leftovers(request: StepsRequest, scratch: Path) -> None:
    """Removes files of an earlier attempt that would be taken for this one's."""
    if not (request.output_dir / "intermediate_models" / "step_hw_codegen.onnx").is_file():
        shutil.rmtree(scratch, ignore_errors=True)  # half of the code, of an attempt that was killed
    scratch.mkdir(exist_ok=True)
    for name in (FAILURE_FILE, "build_dataflow.log"):
        (request.output_dir / name).unlink(missing_ok=True)


def _make_failure(folder: Path, status: int) -> FinnBuildError:
    """The exception for what a step left in failure.json, else for the last error in FINN's log."""
    output, log = folder / "output", folder / "finn.log"
    if status < 0:
        return FinnKilledError(
            f"FINN was killed {MAX_KILLS} times, the last time in {last_step(folder)}; its log is {log}"
        )
    if failure := read_failure(output):
        text = failure.error if failure.step == REQUEST else f"{failure.step} failed: {failure.error}"
        is_refused = failure.is_of_network and shutil.disk_usage(folder).free >= FULL_DISK_BYTES
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
