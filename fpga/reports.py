"""FINN's estimate reports, read into one record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, overload

from fpga.in_finn.network_report import NetworkReport, NetworkWeights, ResourceCounts
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


def read_network_report(report_folder: Path) -> NetworkReport:
    """What fpga/in_finn/estimates.py found of a network. Raises ReportError where the file or a field is missing."""
    path = report_folder / "network_report.json"
    values = _read_json(path)
    try:
        return NetworkReport.from_json(values)
    except KeyError as error:
        raise ReportError(f"{path} has no field {error}; expected those of fpga/in_finn/network_report.py") from error


def make_build_report(network: NetworkReport, verification: Verification) -> BuildReport:
    """A finished build: FINN's estimates, and how its graphs did on the recorded frames.

    Raises ReportError where the weights are not in the network's report.
    """
    if network.weights is None:
        raise ReportError("the network report has no field 'weights'; expected that of a build, not of a sweep")
    layers_only = network.layers_only
    return BuildReport(
        lut=layers_only.lut,
        bram_18k=layers_only.bram_18k,
        uram=layers_only.uram,
        dsp=layers_only.dsp,
        throughput_fps=network.throughput_fps,
        latency_us=network.latency_us,
        bottleneck_layer=network.bottleneck_layer,
        bottleneck_cycles=network.bottleneck_cycles,
        n_frames_verified=verification.n_frames,
        n_classes_equal=verification.n_classes_equal,
        connected=to_resources(network.with_fifos),
        n_width_converters=network.n_width_converters,
        n_fifos=network.n_fifos,
        available=to_resources(network.available),
        by_rothe=_estimate_by_rothe(network.weights),
        layers=tuple(LayerReport(**vars(layer)) for layer in network.layers),
        agreements=verification.agreements,
        not_executed=NOT_EXECUTED,
    )


def make_hardware_estimate(network: NetworkReport) -> HardwareEstimate:
    """Of a network that was estimated and not built; with FIFOs and width converters."""
    return HardwareEstimate(
        **network.with_fifos.to_json(),
        throughput_fps=network.throughput_fps,
        latency_us=network.latency_us,
        bottleneck_layer=network.bottleneck_layer,
        available=to_resources(network.available),
    )


@overload
def to_resources(counts: ResourceCounts) -> Resources: ...


@overload
def to_resources(counts: ResourceCounts | None) -> Resources | None: ...


def to_resources(counts: ResourceCounts | None) -> Resources | None:
    """As they are stored; None stays None."""
    return None if counts is None else Resources(**vars(counts))


def describe_utilisation(taken: Resources, available: Resources | None) -> str:
    """In per cent of the board, as `12.3 % LUT, 4.5 % BRAM, ...`; empty where the board's resources are not known."""
    if available is None:
        return ""
    parts = [
        f"{used / there:.1%} {name}"
        for name, used, there in (
            ("LUT", taken.lut, available.lut),
            ("BRAM18", taken.bram_18k, available.bram_18k),
            ("URAM", taken.uram, available.uram),
            ("DSP", taken.dsp, available.dsp),
        )
        if there
    ]
    return ", ".join(parts)


def _estimate_by_rothe(weights: NetworkWeights) -> Resources:
    layers = [WeightedLayer(layer.is_convolution, layer.n_weights, layer.bits) for layer in weights.layers]
    return estimate_by_rothe(layers, weights.n_max_pools)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReportError(f"FINN's report {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ReportError(f"FINN's report {path} is a {type(content).__name__}; expected an object")
    return content
