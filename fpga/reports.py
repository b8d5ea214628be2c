"""FINN's estimate reports, read into one record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fpga.verification import Verification
from storage.records import BuildReport


class ReportError(Exception):
    """A report of FINN is missing or is not what its version writes."""


def read_build_report(folder: Path, verification: Verification) -> BuildReport:
    """FINN's totals for the whole network: estimates, before data width converters and FIFOs are inserted.

    Raises ReportError where a file or a field is missing.
    """
    performance = _read_json(folder / "estimate_network_performance.json")
    resources = _read_json(folder / "estimate_layer_resources.json")
    cycles = _read_json(folder / "estimate_layer_cycles.json")
    try:
        total, bottleneck = resources["total"], performance["max_cycles_node_name"]
        return BuildReport(
            lut=round(total["LUT"]),
            bram_18k=round(total["BRAM_18K"]),
            uram=round(total["URAM"]),
            dsp=round(total["DSP"]),
            throughput_fps=float(performance["estimated_throughput_fps"]),
            latency_us=float(performance["estimated_latency_ns"]) / 1000,
            bottleneck_layer=bottleneck,
            bottleneck_cycles=round(cycles[bottleneck]),
            n_frames_verified=verification.n_frames,
            n_classes_equal=verification.n_classes_equal,
        )
    except KeyError as error:
        raise ReportError(f"FINN's reports in {folder} have no field {error}; expected those of FINN+ 1.6.1") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReportError(f"FINN's report {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ReportError(f"FINN's report {path} is a {type(content).__name__}; expected an object")
    return content
