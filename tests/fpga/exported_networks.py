"""Small networks of each kind of block, trained in seconds, exported as a promotion exports them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import torch

from fpga.finn_build import FinnOutput, FinnRun, make_build_request, run_finn_build
from fpga.toolchain.finn import Finn
from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from spaces.pruning_stages import CostAwareStage, MagnitudeStage, PruningStage, StructuredStage, ThresholdStage
from storage.dataset.frames import Frames
from storage.records import BuildLevel, BuildTarget
from workers.checkpoint import write_weights
from workers.model import Network, build_model
from workers.qonnx_export import export_evaluation
from workers.stage_start import start_stage
from workers.training import EpochEnd, Phase, make_optimizer, train

N_REFERENCE_FRAMES = 200

ZCU111 = BuildTarget(board="ZCU111", clk_period_ns=5.0, target_fps=100_000)


@dataclass(frozen=True)
class BuiltNetwork:
    """Where one network's files lie: those of the promotion, those of the build."""

    exported: Path
    folder: Path
    output: FinnOutput


def conv(out_channels: int, stride: int = 1, kernel_size: int = 3, bits: int = 4) -> Conv:
    return Conv(
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=stride,
        weight_bit_width=bits,
        activation_bit_width=bits,
    )


def dsc(kernel_size: int, stride: int, channels: int, weight_bits: int, activation_bits: int) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        kernel_size=kernel_size,
        stride=stride,
        out_channels=channels,
        weight_bit_width=weight_bits,
        activation_bit_width=activation_bits,
    )


def linear(out_features: int, bits: int, activation_bits: int | None = None) -> Linear:
    return Linear(out_features=out_features, weight_bit_width=bits, activation_bit_width=activation_bits)


NETWORKS: dict[str, tuple[Block, ...]] = {
    "residual": (
        InputQuantizer(),
        dsc(15, 4, 12, 8, 6),
        dsc(9, 1, 12, 3, 4),
        dsc(7, 1, 12, 5, 5),
        dsc(7, 2, 16, 4, 7),
        GlobalPool(),
        linear(24, 6),
    ),
    "vgg": (
        InputQuantizer(),
        *(block for _ in range(7) for block in (conv(16), MaxPool(kernel_size=2))),
        linear(32, 4, 4),
        linear(32, 4, 4),
        linear(24, 4),
    ),
    "pools_between_residuals": (
        InputQuantizer(lowest=-2.0),
        conv(12, stride=4, kernel_size=8),
        MaxPool(kernel_size=4),
        dsc(9, 1, 12, 5, 5),
        MaxPool(kernel_size=2),
        InvertedResidual(out_channels=12, kernel_size=5, expansion=2, weight_bit_width=4, activation_bit_width=4),
        linear(24, 4),
    ),
    "eight_bits": (
        InputQuantizer(features="power"),
        *(block for _ in range(4) for block in (conv(32, bits=8), MaxPool(kernel_size=2))),
        GlobalPool(),
        linear(32, 8, 8),
        linear(24, 8),
    ),
}


STAGES: dict[str, PruningStage] = {
    "residual": ThresholdStage(epsilon=0.05, weight_decay=1e-4, epochs=1),
    "vgg": MagnitudeStage(fraction=0.3, epochs=1),
    "pools_between_residuals": StructuredStage(fraction=0.25, epochs=1),
    "eight_bits": CostAwareStage(inference_cost=0.05, epochs=1),
}
"""Each of these networks is pruned by another kind."""


def export_trained_network(name: str, folder: Path) -> None:
    """One of NETWORKS, trained, pruned, trained on and exported, with N_REFERENCE_FRAMES reference vectors."""
    torch.set_num_threads(1)
    architecture = ArchitectureConfig(blocks=NETWORKS[name])
    frames = replace(make_tone_frames(1200), features=architecture.features)
    model, first = build_model(architecture, seed=0), Phase(0, 4, 0.01, 1e-4, 50, 5)
    ends: list[EpochEnd] = []
    train(model, frames, first, seed=0, on_epoch=ends.append)
    optimizer = make_optimizer(model, first)
    optimizer.load_state_dict(ends[-1].optimizer_state)
    start = start_stage(Network(architecture, model), STAGES[name], optimizer)
    pruned = start.network
    train(pruned.model, frames, Phase(1, 1, 0.003, 1e-4, 50, 5, start.ramp), seed=0, pruner=start.pruner)
    write_weights(folder / "weights.safetensors", pruned.model)
    vectors = frames.select(np.arange(N_REFERENCE_FRAMES))
    export_evaluation(pruned.architecture, folder / "weights.safetensors", vectors, folder, n_checked=4)


def export_tiny_network(folder: Path, seed: int) -> None:
    """A network of two layers with random weights, of its own for each seed, on frames of 32 samples.

    The reference vectors are 8 frames of noise.
    """
    torch.set_num_threads(1)
    architecture = ArchitectureConfig(
        blocks=(InputQuantizer(), conv(4, stride=2), GlobalPool(), linear(24, 4)), frame_length=32
    )
    generator = np.random.default_rng(seed)
    samples, labels = generator.standard_normal((64, 2, 32)), np.zeros(64, dtype=np.int64)
    frames = Frames(samples.astype(np.float32), labels, labels)
    model = build_model(architecture, seed=seed)
    train(model, frames, Phase(0, 1, 0.01, 1e-4, 32, 5), seed=seed)
    write_weights(folder / "weights.safetensors", model)
    export_evaluation(architecture, folder / "weights.safetensors", frames.select(np.arange(8)), folder, n_checked=4)


def build_exported(
    finn: Finn,
    exported: Path,
    folder: Path,
    target: BuildTarget = ZCU111,
    level: BuildLevel = BuildLevel.CODEGEN,
    timeout_s: float = 600,
) -> FinnOutput:
    """Builds the model and reference vectors of the folder `exported`."""
    request = make_build_request(exported / "model.onnx", exported / "proof.npz", target, folder, level)
    return run_finn_build(finn, request, FinnRun(timeout_s, Event()))


def make_tone_frames(n_frames: int) -> Frames:
    """Complex tones at 24 frequencies, one per class, in noise."""
    generator = np.random.default_rng(3)
    labels = np.arange(n_frames) % 24
    phase = np.pi * (labels[:, None] + 1) * np.arange(1024) / 28 + generator.uniform(0, 2 * np.pi, (n_frames, 1))
    iq = np.stack([np.cos(phase), np.sin(phase)], axis=1) + 0.3 * generator.standard_normal((n_frames, 2, 1024))
    return Frames(iq.astype(np.float32), labels.astype(np.int64), np.zeros(n_frames, dtype=np.int64))
