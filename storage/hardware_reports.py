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
    """Of an FPGA, taken or there. BRAM in blocks of 18 Kb; FF None where it is not known, for FINN estimates none."""

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
    """Of the generated RTL by open-source synthesis, a second opinion; None where there is none."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class MeasuredHardware:
    """What Vivado measured of a build, beside FINN's estimates and never in their place."""

    core: Resources
    """Of the network's core, placed and routed by itself."""
    core_slack_ns: float | None
    """The worst at the build's clock; negative where the core is too slow for it. None where Vivado named none."""
    core_fmax_mhz: float | None
    core_power_w: float | None
    """By Vivado, with the switching activity it assumes."""
    vivado: str | None
    """Version."""
    fpga: Resources | None = None
    """Of the whole FPGA, with what moves data in and out; None before the last level, as all that follows."""
    fpga_slack_ns: float | None = None
    bitfile: str | None = None
    """Path in the build's folder."""
    deployment: str | None = None
    """Path in the build's folder: bitfile and driver for the board."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class GraphAgreement:
    """How one form of the network did on the recorded frames."""

    graph: str
    """qonnx, streamlined or folded."""
    n_scores_equal: int
    """Frames that got all integer scores of the Brevitas model."""
    n_classes_equal: int
    """Frames that got its class; where its two largest scores are equal, each of them is right."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class HardwareEstimate:
    """FINN's estimate of one architecture, folded for a target; weights are not those of any trial."""

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
    """FINN's estimates for one build, and the proof that its graph computes what the network does."""

    lut: int
    """This and the next three: the layers alone; hardware takes `connected`."""
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
    """Recorded frames run through FINN's graphs."""
    n_classes_equal: int
    """How many of them got the class that the Brevitas model gave, in the graph that did worst."""
    connected: Resources | None = None
    """With data width converters and FIFOs; None in reports of before 2026-11-20, as all that follows."""
    n_width_converters: int | None = None
    n_fifos: int | None = None
    available: Resources | None = None
    """Of the board; None where FINN does not know it."""
    by_rothe: Resources | None = None
    """By the formula of fpga/resource_formulas.py, for comparison with its source alone."""
    layers: tuple[LayerReport, ...] = ()
    """In the order of the data."""
    agreements: tuple[GraphAgreement, ...] = ()
    """QONNX file, streamlined graph, folded graph."""
    not_executed: str | None = None
    """What of the hardware the recorded frames did not run through, in words."""
    rtl_check: RtlCheck | None = None
    """What open-source tools found of the generated code; None where nobody asked them."""
    measured: MeasuredHardware | None = None
    """By Vivado, from out-of-context synthesis on; None before."""

    @property
    def bare(self) -> Resources:
        """Of the layers alone."""
        return Resources(lut=self.lut, bram_18k=self.bram_18k, uram=self.uram, dsp=self.dsp)

    @property
    def total(self) -> Resources:
        """With width converters and FIFOs; of the layers alone in a report of before 2026-11-20."""
        return self.connected or self.bare

    def as_estimate(self) -> HardwareEstimate:
        """What an estimate has of it, counted in the same way."""
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
        """The same, and what open-source tools found of its code, with resources by layer's name."""
        layers = tuple(replace(layer, by_yosys=by_yosys.get(layer.name)) for layer in self.layers)
        return replace(self, layers=layers, rtl_check=check)
