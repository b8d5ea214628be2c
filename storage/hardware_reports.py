"""What is estimated, measured and checked of a network's hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from pydantic import with_config

from storage.rtl_record import RtlCheck
from storage.stored_json import REFUSE_UNKNOWN


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class Resources:
    """Resources of an FPGA, used or available. BRAM counts blocks of 18 Kb; FF is None in FINN's estimates."""

    lut: int
    bram_18k: int
    uram: int
    dsp: int
    ff: int | None = None


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class LayerReport:
    """FINN's estimate of one layer of the folded network."""

    name: str
    lut: int
    bram_18k: int
    uram: int
    dsp: int
    cycles: int
    """Clock cycles per frame."""
    pe: int | None
    """Outputs computed at once; None where the layer has no such folding."""
    simd: int | None
    """Inputs taken at once."""
    by_yosys: Resources | None = None
    """The cross-check: resources of the generated RTL by Yosys; None where there is none."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class MeasuredHardware:
    """What Vivado measured of a build, beside FINN's estimates and never in their place."""

    core: Resources
    """Of the network's core, placed and routed by itself."""
    core_slack_ns: float | None
    """Worst slack at the build's clock; negative where the core is too slow for it. None where Vivado gave none."""
    core_fmax_mhz: float | None
    core_power_w: float | None
    """By Vivado, with the switching activity it assumes."""
    vivado: str | None
    """Version."""
    fpga: Resources | None = None
    """Of the whole FPGA, data movers included. This and all fields below are None before the last level."""
    fpga_slack_ns: float | None = None
    bitfile: str | None = None
    """Path in the build's folder."""
    deployment: str | None = None
    """Path in the build's folder: bitfile and driver for the board."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class GraphAgreement:
    """How well one form of the network agrees with the Brevitas model on the recorded frames."""

    graph: str
    """qonnx, streamlined or folded."""
    n_scores_equal: int
    """Frames whose integer scores all equal the Brevitas model's."""
    n_classes_equal: int
    """Frames of the same class. Where the model's two largest scores are equal, either class counts."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class HardwareEstimate:
    """FINN's estimate of one architecture, folded for a target. Its weights are those of no trial."""

    lut: int
    """This and the next three: with data width converters and FIFOs."""
    bram_18k: int
    uram: int
    dsp: int
    throughput_fps: float
    """Frames per second at the target's clock."""
    latency_us: float
    """First sample in to class out, microseconds."""
    bottleneck_layer: str
    available: Resources | None
    """Of the board; None where FINN does not know it."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class BuildReport:
    """FINN's estimates for one build, and the verification that its graph computes what the network does."""

    lut: int
    """This and the next three: the layers only. The hardware needs `connected`."""
    bram_18k: int
    uram: int
    dsp: int
    throughput_fps: float
    """Frames per second at the build's clock."""
    latency_us: float
    """First sample in to class out, microseconds."""
    bottleneck_layer: str
    bottleneck_cycles: int
    n_frames_verified: int
    """Recorded frames that were run through FINN's graphs."""
    n_classes_equal: int
    """Those of the Brevitas model's class, in the graph that agrees least."""
    connected: Resources | None = None
    """With FIFOs and width converters. This and all fields below are missing in reports from before 2026-11-20."""
    n_width_converters: int | None = None
    n_fifos: int | None = None
    available: Resources | None = None
    """Of the board; None where FINN does not know it."""
    by_rothe: Resources | None = None
    """By the formula in fpga/resource_formulas.py; only for comparison with the formula's source."""
    layers: tuple[LayerReport, ...] = ()
    """In the order of the data."""
    agreements: tuple[GraphAgreement, ...] = ()
    """QONNX file, streamlined graph, folded graph."""
    not_executed: str | None = None
    """The parts of the hardware that the verification leaves out, in words."""
    rtl_check: RtlCheck | None = None
    """What the cross-check found in the generated code; None where it was not run."""
    measured: MeasuredHardware | None = None
    """By Vivado; None before out-of-context synthesis."""

    @property
    def layers_only(self) -> Resources:
        """Without FIFOs and width converters."""
        return Resources(lut=self.lut, bram_18k=self.bram_18k, uram=self.uram, dsp=self.dsp)

    @property
    def total(self) -> Resources:
        """With FIFOs and width converters; of the layers only in a report from before 2026-11-20."""
        return self.connected or self.layers_only

    def as_estimate(self) -> HardwareEstimate:
        """The report as an estimate, with resources counted in the same way."""
        total = self.total
        return HardwareEstimate(
            lut=total.lut,
            bram_18k=total.bram_18k,
            uram=total.uram,
            dsp=total.dsp,
            throughput_fps=self.throughput_fps,
            latency_us=self.latency_us,
            bottleneck_layer=self.bottleneck_layer,
            available=self.available,
        )

    def with_rtl_check(self, by_yosys: Mapping[str, Resources], check: RtlCheck) -> Self:
        """The same report with a cross-check: what Yosys counts, by layer's name, and what was found."""
        layers = tuple(replace(layer, by_yosys=by_yosys.get(layer.name)) for layer in self.layers)
        return replace(self, layers=layers, rtl_check=check)
