"""The shapes of all that is stored: measured networks, their cost, hardware estimates and builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import with_config

from storage.rtl_record import RtlCheck
from storage.stored_json import REFUSE_UNKNOWN


@dataclass(frozen=True)
class Cost:
    """What one inference needs (ITU PS-007); lower is better in every field."""

    bit_ops: float
    """MACs of non-zero weights, each times weight bits times activation bits."""
    weight_bits: float
    """Bits of the non-zero weights."""
    inference_cost: float
    """The challenge's score eta: mean of both, each against the 8-bit VGG10; 1.0 is that network."""
    parameters: int
    """Weights of all MAC layers, zeros included."""


@dataclass(frozen=True)
class Evaluation:
    """One network measured once: after training (stage 0) or at the end of a pruning stage (1, 2, ...)."""

    study_name: str
    trial_number: int
    stage: int
    accuracy: float
    """Fraction of validation frames classified rightly, all SNRs; 0 to 1, higher is better."""
    accuracy_by_snr: Mapping[int, float]
    """Validation accuracy per SNR label in dB."""
    n_frames: int
    """Validation frames measured."""
    cost: Cost
    density: Mapping[str, float]
    """Fraction of non-zero weights per MAC layer, after weight quantization; 0 to 1."""
    epochs: int
    """Epochs trained so far, fine-tuning included."""
    seed: int
    training_seconds: float
    """Device seconds spent on this stage."""
    checkpoint: str
    """Artifact path of the weights, relative to the artifact store."""
    training_path: str = "brevitas"
    """Execution that training went through (workers/training_path.py)."""
    is_exact: bool = False
    """Whether the accuracy was counted in exact integers: the same on any machine."""


class BuildState(StrEnum):
    """Life of a build: queued -> running -> succeeded | failed; a dead worker's build goes back to queued."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class BuildLevel(StrEnum):
    """How far hardware goes, in this order; each level takes up what the one before it left."""

    ESTIMATE = "estimate"
    """Folding, and FINN's estimates of resources and speed."""
    CODEGEN = "codegen"
    """HLS and RTL sources of each layer."""
    STITCHED_IP = "stitched_ip"
    """All layers synthesised by HLS and joined to one IP core."""
    OUT_OF_CONTEXT_SYNTH = "out_of_context_synth"
    """That core synthesised by itself: measured resources and clock."""
    BITFILE = "bitfile"
    """The whole FPGA placed and routed, with the host's driver."""


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


MIN_TARGET_FRACTION = 0.95
"""Of the frames/s asked for: foldings divide channel numbers, so cycles come in steps, 2048 where 2000 were asked."""


@dataclass(frozen=True)
class BuildTarget:
    """The hardware asked for."""

    board: str
    clk_period_ns: float
    target_fps: int
    output: str = "class"
    """class: the FPGA gives the class; scores: it gives the integer scores, which the host scales."""

    @property
    def least_fps(self) -> float:
        """A network that FINN folds to fewer frames/s is not what was asked for, and its build fails."""
        return MIN_TARGET_FRACTION * self.target_fps


class EstimateState(StrEnum):
    """Life of an estimate: queued -> running -> estimated | unbuildable | failed; a dead worker's is queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    ESTIMATED = "estimated"
    UNBUILDABLE = "unbuildable"
    """FINN refuses the network: asked again, it would again."""
    FAILED = "failed"
    """Cut short by its time limit, a kill or a full disk: it may be asked for anew."""


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


@dataclass(frozen=True)
class Estimate:
    """What the hardware of one architecture for one target takes, asked for by any number of trials and studies."""

    key: str
    """Of storage/estimates.py."""
    architecture_json: str
    target: BuildTarget
    timeout_s: int
    state: EstimateState
    attempt: int
    owner: str | None
    message: str | None
    """Why there is none, one line."""
    hardware: HardwareEstimate | None
    requested_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Build:
    """One FINN run of one trial's network for one target."""

    build_id: int
    study_name: str
    trial_number: int
    model: str
    """Artifact path of the QONNX file."""
    proof: str
    """Artifact path of the recorded frames and logits (.npz)."""
    target: BuildTarget
    timeout_s: int
    is_below_threshold: bool
    """Built although no trial reached the accuracy threshold, so that the chain is seen whole."""
    test_accuracy: float | None
    """Accuracy on the test part, measured once at promotion."""
    state: BuildState
    attempt: int
    owner: str | None
    message: str | None
    """Why it failed, one line."""
    report: BuildReport | None
    queued_at: datetime
    finished_at: datetime | None
    level: BuildLevel | None = None
    """How far it got; None before its first report."""
    level_note: str | None = None
    """Why it went no further, one line; None at the last level."""
    next_level: BuildLevel | None = BuildLevel.ESTIMATE
    """What it waits for; None when it waits for nothing more."""
    folder: str | None = None
    """Artifact path of its folder: log, reports, generated code. Builds of one network for one target share it."""
    log_tail: str | None = None
    """The last lines of its log: so far while it runs, or where it failed."""
