"""From a claimed estimate to its metrics: the untrained network is exported, folded and estimated by FINN."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from fpga.claim_lease import Attempt
from fpga.finn_build import (
    MAX_KILLS,
    FinnBuildError,
    FinnKilledError,
    FinnRun,
    FinnTimeoutError,
    UnbuildableNetworkError,
    make_estimate_request,
    run_finn_estimate,
)
from fpga.reports import ReportError, make_hardware_estimate
from fpga.toolchain.fork_server import EstimatorPythons
from fpga.toolchain.process_group import LEAST, CommandTimeoutError, run_in_process_group, yield_to_others
from spaces.architecture import NOT_QUANTIZED, ArchitectureConfig
from storage.artifacts import ArtifactStore, write_bytes_atomically, write_text_atomically
from storage.hardware_reports import HardwareEstimate
from storage.records import Estimate

LOG_NAMES = ("export.log", "finn.log")


def make_estimate(
    store: ArtifactStore, pythons: EstimatorPythons, estimate: Estimate, attempt: Attempt
) -> HardwareEstimate:
    """Exports the architecture and has FINN estimate it, in a temporary folder. On failure the log stays.

    Raises UnbuildableNetworkError where no FPGA takes the network; other FinnBuildError, ReportError or OSError where
    that is not known; CommandStoppedError when it is to stop.
    """
    architecture = ArchitectureConfig.model_validate_json(estimate.architecture_json)
    if not architecture.is_quantized:
        raise UnbuildableNetworkError(NOT_QUANTIZED)
    deadline = time.monotonic() + estimate.timeout_s
    try:
        with _scratch_folder(store, estimate.key) as folder:
            model = _export(pythons.export, architecture, folder, deadline, attempt.stop)
            run = FinnRun(deadline - time.monotonic(), attempt.stop, niceness=LEAST, on_event=attempt.tell)
            request = make_estimate_request(model, estimate.target, folder)
            return make_hardware_estimate(run_finn_estimate(pythons.finn, request, run))
    except (CommandTimeoutError, FinnTimeoutError):
        raise FinnTimeoutError(f"timeout_s is {estimate.timeout_s}; the estimate took longer and was killed") from None


@contextmanager
def _scratch_folder(store: ArtifactStore, key: str) -> Iterator[Path]:
    """A folder of this attempt alone. Removes those that killed workers left of the same estimate."""
    estimates = store.path("estimates")
    estimates.mkdir(parents=True, exist_ok=True)
    for left in estimates.glob(f"{key}-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=estimates))
    try:
        yield folder
    except (CommandTimeoutError, FinnBuildError, ReportError):
        logs = [folder / name for name in LOG_NAMES]
        write_bytes_atomically(estimates / f"{key}.log", b"".join(log.read_bytes() for log in logs if log.is_file()))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _export(python: Path, architecture: ArchitectureConfig, folder: Path, deadline: float, stop: Event) -> Path:
    """The path of the QONNX file. Raises FinnBuildError, and CommandTimeoutError at the deadline."""
    given, model, log = folder / "architecture.json", folder / "model.onnx", folder / LOG_NAMES[0]
    write_text_atomically(given, architecture.model_dump_json())
    command: list[str | Path] = [
        *yield_to_others(LEAST),
        python,
        "-m",
        "workers.architecture_export",
        given,
        model,
    ]
    for _ in range(MAX_KILLS):
        status = run_in_process_group(
            command,
            log,
            timeout_s=deadline - time.monotonic(),
            stop=stop,
            environment=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        if status >= 0:
            break
    else:
        raise FinnKilledError(f"the export of the network was killed {MAX_KILLS} times")
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or [f"it ended with status {status}"]
        raise FinnBuildError(f"the network was not exported: {lines[-1]}")
    return model
