"""Frames a network can learn in seconds, small designs, and a small data file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.architecture import ArchitectureConfig
from spaces.blocks import DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from spaces.search_space import Design
from storage.dataset.frames import Frames
from storage.twin.cached_twin import ensure_twin
from workers.requests import DatasetRequest, EvaluationRequest

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


def dsc(kernel_size: int, stride: int, channels: int, weight_bits: int, activation_bits: int) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        kernel_size=kernel_size,
        stride=stride,
        out_channels=channels,
        weight_bit_width=weight_bits,
        activation_bit_width=activation_bits,
    )


def make_request(design: Design, data: Path, folder: Path) -> EvaluationRequest:
    """A trial on a small data file, whose artifacts lie in the folder."""
    return EvaluationRequest(
        study_name="tones",
        trial_number=3,
        design=design,
        seed=11,
        dataset=DatasetRequest(str(data), None, min_training_snr_db=-6, validation_fraction=0.2),
        artifacts=str(folder / "artifacts"),
        study_started="2026-01-01",
        n_threads=1,
        use_gpu=False,
    )


@pytest.fixture
def tone_architecture() -> ArchitectureConfig:
    """Four classes of short frames, one residual block."""
    return ArchitectureConfig(
        blocks=(
            InputQuantizer(),
            dsc(9, 4, 8, 6, 6),
            dsc(5, 1, 8, 4, 5),
            GlobalPool(),
            Linear(out_features=4, weight_bit_width=6),
        ),
        frame_length=64,
        n_classes=4,
    )


@pytest.fixture
def tone_frames() -> Frames:
    """256 frames of complex tones at four frequencies, one per class, in noise."""
    generator = np.random.default_rng(5)
    labels = np.repeat(np.arange(4), 64)
    phase = 2 * np.pi * (labels[:, None] + 1) * np.arange(64) / 16 + generator.uniform(0, 2 * np.pi, (256, 1))
    iq = np.stack([np.cos(phase), np.sin(phase)], axis=1) + 0.1 * generator.standard_normal((256, 2, 64))
    return Frames(iq.astype(np.float32), labels.astype(np.int64), np.tile([0, 10], 128).astype(np.int64))


@pytest.fixture(scope="session")
def twin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin with eight frames per class and SNR."""
    return ensure_twin(frames_per_cell=8, seed=1, folder=tmp_path_factory.mktemp("twin"))
