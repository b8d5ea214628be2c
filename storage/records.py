"""The rows of the database as records: measured networks, their cost, hardware estimates and builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from spaces.architecture import ArchitectureConfig
from storage.hardware_reports import BuildReport, HardwareEstimate


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
    architecture: ArchitectureConfig | None = None
    """The network, where channels were removed from the trial's; None: it is the trial's."""


@dataclass(frozen=True)
class Rung:
    """Where trials are compared while they train."""

    number: int
    """0 is the first."""
    epoch: int
    """Epochs of the whole trial, fine-tuning included."""


@dataclass(frozen=True)
class RungResult:
    """A trial in the middle of its training, measured as if it were at its end."""

    study_name: str
    trial_number: int
    rung: int
    """0 is the first."""
    epoch: int
    """Epochs trained so far, fine-tuning included."""
    accuracy: float
    """Fraction of validation frames classified rightly, all SNRs; 0 to 1, higher is better."""
    inference_cost: float
    """The challenge's score of the network as it is."""
    is_stopped: bool = False
    """Whether the search stopped the trial there."""


@dataclass(frozen=True)
class Replicate:
    """The network at the end of a trial's stage, trained again with another seed."""

    study_name: str
    trial_number: int
    stage: int
    seed: int
    accuracy: float | None
    """Fraction of validation frames classified rightly, all SNRs; 0 to 1, higher is better. None: it failed."""
    inference_cost: float | None
    """The challenge's score; None: it failed."""
    n_frames: int
    """Validation frames measured."""
    training_seconds: float
    """Device seconds, all stages up to this one."""
    failure: str | None = None
    """The traceback of a training that failed."""


def name_network(trial_number: int, stage: int) -> str:
    """What people call the network at the end of a trial's stage: "trial 7 stage 2"."""
    return f"trial {trial_number} stage {stage}"


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


MIN_TARGET_FRACTION = 0.95
"""Of the frames/s asked for. Foldings divide channel numbers, so cycles come in steps: 2048 where 2000 were asked."""


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
        """A build that FINN folds to fewer frames/s fails."""
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
class BuildRequest:
    """What is asked for with a build."""

    study_name: str
    trial_number: int
    stage: int
    """Of the trial: the network is the one at its end."""
    model: str
    """Artifact path of the QONNX file."""
    reference_vectors: str
    """Artifact path of the recorded frames and logits (.npz)."""
    target: BuildTarget
    timeout_s: int
    is_below_threshold: bool
    """Whether the trial missed the accuracy threshold; it is built so that the chain is seen whole."""
    test_accuracy: float | None
    """Accuracy on the test part, measured once at promotion."""

    @property
    def network(self) -> str:
        """Such as "trial 7 stage 2"."""
        return name_network(self.trial_number, self.stage)


@dataclass(frozen=True)
class FinishedBuild:
    """How far a worker brought a build, and what it found."""

    report: BuildReport
    level: BuildLevel
    level_note: str | None = None
    """Why it went no further, one line; None at the last level."""
    next_level: BuildLevel | None = None
    """What it waits for; None when it waits for nothing more."""
    folder: str | None = None
    """Artifact path of its folder."""


@dataclass(frozen=True)
class Build(BuildRequest):
    """One FINN run of one network for one target."""

    build_id: int
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
