"""What FINN estimates of two small networks, recorded: `python -m tests.fpga.recorded_estimates` records it anew."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from fpga.finn_build import FinnRun, make_estimate_request, run_finn_estimate
from fpga.in_finn.network_report import NetworkReport
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import ensure_finn_environment
from spaces.architecture import ArchitectureConfig
from spaces.blocks import GlobalPool, InputQuantizer, InvertedResidual, MaxPool
from storage.estimates import ESTIMATOR_VERSION
from tests.fpga.exported_networks import ZCU111, conv, dsc, linear
from workers.architecture_export import export_architecture

RECORDED = Path(__file__).parent / "finn_reports" / "estimates.json"

NETWORKS: Mapping[str, ArchitectureConfig] = {
    "residual": ArchitectureConfig(
        blocks=(
            InputQuantizer(),
            dsc(5, 2, 8, 6, 4),
            InvertedResidual(
                out_channels=8, kernel_size=3, expansion=2, weight_bit_width=4, activation_bit_width=4, residual=True
            ),
            GlobalPool(),
            linear(24, 4),
        ),
        frame_length=32,
    ),
    "pooled": ArchitectureConfig(
        blocks=(InputQuantizer(), conv(8, bits=8), MaxPool(kernel_size=2), linear(16, 8, 8), linear(24, 3)),
        frame_length=16,
    ),
}


def estimate_networks(finn: Finn, folder: Path) -> dict[str, Any]:
    """Resources, cycles and latency of each network, as the estimate worker finds them."""
    return {name: describe(_estimate(finn, architecture, folder / name)) for name, architecture in NETWORKS.items()}


def describe(report: NetworkReport) -> dict[str, Any]:
    """What is recorded of a report."""
    return {
        "layers_only": report.layers_only.to_json(),
        "with_fifos": report.with_fifos.to_json(),
        "latency_us": report.latency_us,
        "cycles": {layer.name: layer.cycles for layer in report.layers},
    }


def _estimate(finn: Finn, architecture: ArchitectureConfig, folder: Path) -> NetworkReport:
    folder.mkdir()
    export_architecture(architecture, folder / "model.onnx")
    request = make_estimate_request(folder / "model.onnx", ZCU111, folder)
    return run_finn_estimate(finn, request, FinnRun(300, Event()))


def main() -> None:
    """Records the estimates of today's code under its version."""
    with tempfile.TemporaryDirectory() as folder:
        estimates = estimate_networks(ensure_finn_environment(), Path(folder))
    kept = {
        "made_by": "python -m tests.fpga.recorded_estimates",
        "estimator_version": ESTIMATOR_VERSION,
        "estimates": estimates,
    }
    RECORDED.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
