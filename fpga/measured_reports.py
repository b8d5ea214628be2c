"""What Vivado measured of a build, from the files that FINN's later steps leave.

Field names are those of FINN+ 1.6.1: finn/util/vivado.py (parse_ooc_synth_results) writes ooc_synth_and_timing.json,
finn/analysis/fpgadataflow/post_synth_res.py post_synth_resources.json, and step_synthesize_bitfile copies Vivado's own
post_route_timing.rpt. No such file of a real Vivado was at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpga.reports import ReportError
from storage.hardware_reports import MeasuredHardware, Resources

WORST_SLACK = re.compile(r"WNS\(ns\)\s+TNS\(ns\)[^\n]*\n(?:[\s-]*\n)?\s*(-?\d+\.\d+)\s")
"""In Vivado's timing summary: the first number below the header and its line of dashes."""

BITFILE_SUFFIXES = (".bit", ".xclbin")
"""Of Zynq and of Alveo boards."""


def read_measured_hardware(output: Path) -> MeasuredHardware | None:
    """Of a build's output folder; None where its core was not synthesised. Paths are relative to `output`'s parent.

    Raises ReportError where a report cannot be read or lacks a resource.
    """
    report = output / "report"
    if not (report / "ooc_synth_and_timing.json").is_file():
        return None
    core = _read_object(report / "ooc_synth_and_timing.json")
    has_slack = "WNS" in core  # without one, FINN takes it for 0 and names a clock that nobody measured
    whole = _read_fpga(report)
    made = sorted((output / "bitfile").glob("finn-accel*"))
    bitfile = next((path for path in made if path.suffix in BITFILE_SUFFIXES), None)
    deployment = output / "deploy"
    return MeasuredHardware(
        core=_to_resources(core, report / "ooc_synth_and_timing.json"),
        core_slack_ns=float(core["WNS"]) if has_slack else None,
        core_fmax_mhz=float(core["fmax_mhz"]) if has_slack else None,
        core_power_w=float(core["total_power_W"]) if "total_power_W" in core else None,
        vivado=core.get("vivado_version"),
        fpga=whole,
        fpga_slack_ns=read_worst_slack(report / "post_route_timing.rpt"),
        bitfile=None if bitfile is None else str(bitfile.relative_to(output.parent)),
        deployment=str(deployment.relative_to(output.parent)) if deployment.is_dir() else None,
    )


def read_worst_slack(path: Path) -> float | None:
    """In ns, negative where timing is not met; None where Vivado names none or the file is not there."""
    if not path.is_file():
        return None
    found = WORST_SLACK.search(path.read_text(errors="replace"))
    return float(found[1]) if found else None


def _read_fpga(report: Path) -> Resources | None:
    path = report / "post_synth_resources.json"
    if not path.is_file():
        return None
    layers = _read_object(path)
    if "(top)" not in layers:
        raise ReportError(f"{path} has no field (top); expected the resources of the whole FPGA, as FINN writes them")
    return _to_resources(layers["(top)"], path)


def _to_resources(counts: Mapping[str, Any], path: Path) -> Resources:
    missing = [name for name in ("LUT", "FF", "DSP", "BRAM_36K", "BRAM_18K") if name not in counts]
    if missing:
        raise ReportError(f"{path} has no field {', '.join(missing)}; expected those of FINN's reading of Vivado")
    return Resources(
        lut=int(counts["LUT"]),
        bram_18k=2 * int(counts["BRAM_36K"]) + int(counts["BRAM_18K"]),
        uram=int(counts.get("URAM", 0)),  # Vivado has no such line where the FPGA has none
        dsp=int(counts["DSP"]),
        ff=int(counts["FF"]),
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path} is a {type(content).__name__}; expected an object")
    return content
