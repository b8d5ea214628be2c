"""How fast a design is trained and measured on this machine, from a few steps on made-up frames."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from spaces.architecture import make_float
from spaces.blocks import InputQuantizer
from spaces.search_space import Design
from storage.dataset.frames import Frames
from storage.dataset.input_codes import encode, has_exact_codes, quantizer_scale
from workers.accuracy import evaluate_accuracy
from workers.evaluation import list_phases
from workers.model import build_model
from workers.training import EpochEnd, train
from workers.training_path import choose_training_path

N_STEPS = 6
"""Per epoch of the probe; of two epochs the first makes what the second one finds."""

LARGEST_BATCH = 256
"""Of the probe: larger ones take longer, and tell the same."""

N_EVALUATED = 512


@dataclass(frozen=True)
class Speed:
    """Of one trial alone on this machine, on `n_threads`."""

    training_fps: float
    """Frames per second, forward and backward."""
    evaluation_fps: float
    weight_bytes: int
    """Of one network on disk."""
    process_bytes: int
    """The most memory that this process has had so far."""
    path: str
    """How it is trained: native is the fastest."""


def measure_speed(design: Design, n_threads: int) -> Speed:
    """Trains a few steps on a CPU; the weights are thrown away."""
    torch.set_num_threads(n_threads)
    is_float = design.training.kind == "post_training"
    model = build_model(make_float(design.architecture) if is_float else design.architecture, seed=0)
    path = choose_training_path(model)
    phase = list_phases(design)[0]
    phase = replace(phase, batch_size=min(phase.batch_size, LARGEST_BATCH), restart_epochs=2, plateau=None)
    ends: list[float] = []

    def on_epoch(_: EpochEnd) -> None:
        ends.append(time.perf_counter())

    frames = _make_frames(design, N_STEPS * phase.batch_size)
    train(model, frames, phase, 0, None, None, on_epoch, path, 2)
    evaluated = _make_frames(design, N_EVALUATED)
    evaluate_accuracy(model, evaluated)
    started = time.perf_counter()
    evaluate_accuracy(model, evaluated)
    return Speed(
        training_fps=len(frames) / (ends[1] - ends[0]),
        evaluation_fps=len(evaluated) / (time.perf_counter() - started),
        weight_bytes=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        process_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        path=path.name,
    )


def _make_frames(design: Design, n_frames: int) -> Frames:
    architecture, first = design.architecture, design.architecture.blocks[0]
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((n_frames, *architecture.input_shape)).astype(np.float32)
    labels = generator.integers(0, architecture.n_classes, n_frames)
    if isinstance(first, InputQuantizer) and has_exact_codes(first):
        scale = quantizer_scale(first)
        return Frames(encode(samples, first), labels, np.zeros(n_frames, np.int64), scale=scale)
    return Frames(samples, labels, np.zeros(n_frames, np.int64))
