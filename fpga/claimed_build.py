"""From a claimed build to its report: read from its folder where it is finished, else built by FINN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fpga.build_cache import (
    REFERENCE_FILE,
    finished_level,
    is_finished,
    lock_folder,
    make_build_key,
    mark_finished,
    place_inputs,
)
from fpga.claim_lease import Attempt
from fpga.finn_build import FinnBuildError, FinnRun, finn_output, make_build_request, run_finn_build
from fpga.measured_reports import read_measured_hardware
from fpga.reports import make_build_report, read_network_report
from fpga.rtl.result import read_rtl_check
from fpga.toolchain.finn import Finn
from fpga.toolchain.machine_tools import TOOLS_OF_LEVEL, describe_missing_tools
from fpga.verification import verify_outputs
from storage.artifacts import ArtifactStore
from storage.hardware_reports import BuildReport
from storage.records import MIN_TARGET_FRACTION, Build, BuildLevel, BuildTarget


@dataclass(frozen=True)
class BuildResult:
    """Where a build stands after one worker's levels."""

    report: BuildReport
    level: BuildLevel
    note: str | None
    """Why it goes no further here; None at the last level."""


def make_result(
    store: ArtifactStore,
    finn: Finn,
    build: Build,
    levels: Sequence[BuildLevel],
    attempt: Attempt,
) -> BuildResult:
    """Runs the build's next levels, as many of `levels` as follow, and verifies what they made.

    Raises FinnBuildError, VerificationError, ReportError, OSError, and CommandStoppedError when it is to stop.
    """
    folder = find_folder(store, finn, build)
    level = last_level_at_once(build.next_level or BuildLevel.ESTIMATE, levels)
    wait = partial(attempt.tell, "waits for another worker that builds the same")
    with lock_folder(folder, attempt.stop, wait) as lock:
        if is_finished(folder, level):
            attempt.tell(f"was built before, and is not built again: {folder}")
            report = read_result(folder, build.target)
        else:
            model, vectors = place_inputs(folder, store.path(build.model), store.path(build.reference_vectors))
            request = make_build_request(model, vectors, build.target, folder, level)
            run_finn_build(finn, request, FinnRun(build.timeout_s, attempt.stop, lock, on_event=attempt.tell))
            report = read_result(folder, build.target)
            mark_finished(folder, level)
        reached = finished_level(folder) or level
    return BuildResult(report, reached, describe_stop(reached, levels))


def read_result(folder: Path, target: BuildTarget) -> BuildReport:
    """The report of a folder's build, verified on its reference vectors. Raises as make_result does."""
    output = finn_output(folder)
    verification = verify_outputs(folder / REFERENCE_FILE, output.recorded_outputs)
    report = make_build_report(read_network_report(output.report_folder), verification)
    check_target(report, target)
    return read_rtl_check(folder, replace(report, measured=read_measured_hardware(folder / "output")))


def find_folder(store: ArtifactStore, finn: Finn, build: Build) -> Path:
    """The folder of all builds of this network for this target by this FINN, whether or not it is there."""
    return store.build_folder(make_build_key(store.path(build.model), build.target, finn.identity))


def last_level_at_once(first: BuildLevel, levels: Sequence[BuildLevel]) -> BuildLevel:
    """The last of `levels` that runs in one process with `first`: those behind it that need no tools take seconds."""
    last = first
    for following in levels[levels.index(first) + 1 :]:
        if following is not level_after(last) or TOOLS_OF_LEVEL[following]:
            break
        last = following
    return last


def level_after(level: BuildLevel) -> BuildLevel | None:
    """The next level; None after the last."""
    order = list(BuildLevel)
    return next(iter(order[order.index(level) + 1 :]), None)


def describe_stop(reached: BuildLevel, levels: Sequence[BuildLevel]) -> str | None:
    """Why a worker of `levels` leaves the build where it is; None at the last level, or where this worker continues."""
    following = level_after(reached)
    if following is None or following in levels:
        return None
    return describe_missing_tools(following) or f"{following.value} is not among this worker's --levels"


def check_target(report: BuildReport, target: BuildTarget) -> None:
    """Raises FinnBuildError where the folding stays below the frames/s asked for."""
    if report.throughput_fps < target.least_fps:
        raise FinnBuildError(
            f"target_fps is {target.target_fps}; FINN's folding reaches {report.throughput_fps:.0f} frames/s "
            f"at {target.clk_period_ns:g} ns, limited by {report.bottleneck_layer} with {report.bottleneck_cycles} "
            f"cycles; expected at most {report.throughput_fps / MIN_TARGET_FRACTION:.0f} for this network"
        )
