"""FINN's estimate reports, read into one record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpga.resource_formulas import WeightedLayer, estimate_by_rothe
from fpga.verification import Verification
from storage.hardware_reports import BuildReport, HardwareEstimate, LayerReport, Resources

NOT_EXECUTED = (
    "the layers' HLS C++ and Verilog, which need Vitis HLS and Vivado; width converters and FIFOs, whose depths are "
    "computed beside residual branches and the least elsewhere, not simulated"
)
"""The folded graph is run in Python, layer by layer, with the final folding and bit widths."""


class ReportError(Exception):
    """A report of FINN is missing or is not what its version writes."""


def read_build_report(folder: Path, verification: Verification) -> BuildReport:
    """What fpga/in_finn/estimates.py wrote of the network: both totals, each layer, the board.

    Raises ReportError where the file or a field is missing.
    """
    path = folder / "network_report.json"
    network = _read_json(path)
    try:
        available = network["available"]
        return BuildReport(
            **network["bare"],
            throughput_fps=float(network["throughput_fps"]),
            latency_us=float(network["latency_us"]),
            bottleneck_layer=network["bottleneck_layer"],
            bottleneck_cycles=network["bottleneck_cycles"],
            n_frames_verified=verification.n_frames,
            n_classes_equal=verification.n_classes_equal,
            connected=Resources(**network["connected"]),
            n_width_converters=network["n_width_converters"],
            n_fifos=network["n_fifos"],
            available=None if available is None else Resources(**available),
            by_rothe=_estimate_by_rothe(network["weights"]),
            layers=tuple(LayerReport(**layer) for layer in network["layers"]),
            agreements=verification.agreements,
            not_executed=NOT_EXECUTED,
        )
    except KeyError as error:
        raise ReportError(f"{path} has no field {error}; expected those of fpga/in_finn/estimates.py") from error


def read_hardware_estimate(path: Path) -> HardwareEstimate:
    """What fpga/in_finn/estimates.py wrote of a network that was estimated and not built.

    Raises ReportError where the file or a field is missing.
    """
    network = _read_json(path)
    try:
        connected, available = network["connected"], network["available"]
        return HardwareEstimate(
            **{name: int(connected[name]) for name in ("lut", "bram_18k", "uram", "dsp")},
            throughput_fps=float(network["throughput_fps"]),
            latency_us=float(network["latency_us"]),
            bottleneck_layer=network["bottleneck_layer"],
            available=None if available is None else Resources(**available),
        )
    except KeyError as error:
        raise ReportError(f"{path} has no field {error}; expected those of fpga/in_finn/estimates.py") from error


def describe_utilisation(taken: Resources, available: Resources | None) -> str:
    """In per cent of the board, as `12.3 % LUT, 4.5 % BRAM, ...`; empty where the board's resources are not known."""
    if available is None:
        return ""
    parts = [
        f"{used / there:.1%} {name}"
        for name, used, there in (
            ("LUT", taken.lut, available.lut),
            ("BRAM", taken.bram_18k, available.bram_18k),
            ("URAM", taken.uram, available.uram),
            ("DSP", taken.dsp, available.dsp),
        )
        if there
    ]
    return ", ".join(parts)


def _estimate_by_rothe(weights: Mapping[str, Any]) -> Resources:
    layers = [WeightedLayer(layer["is_convolution"], layer["n_weights"], layer["bits"]) for layer in weights["layers"]]
    return estimate_by_rothe(layers, weights["n_max_pools"])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReportError(f"FINN's report {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ReportError(f"FINN's report {path} is a {type(content).__name__}; expected an object")
    return content
