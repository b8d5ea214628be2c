"""How many frames a network classifies rightly, overall and per SNR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from storage.frames import Frames, load_test_frames
from storage.radioml import RadioMLFile
from storage.split import Split

EVALUATION_BATCH_SIZE = 512

CLEAR_SNR_DB = 10
"""From this SNR label on, networks no longer gain from less noise."""


@dataclass(frozen=True)
class Accuracy:
    """Fractions of frames classified rightly, 0 to 1, higher is better."""

    overall: float
    by_snr: Mapping[int, float]
    """Per SNR label in dB."""
    by_class: Mapping[int, float]
    """Per class label, at SNR labels of at least 10 dB, where noise hides little; empty where there are none."""
    n_frames: int


def evaluate_accuracy(model: nn.Module, frames: Frames) -> Accuracy:
    """Accuracy of the model in evaluation mode. Raises ValueError where there are no frames."""
    if len(frames.labels) == 0:
        raise ValueError("there are no frames to evaluate on")
    is_right = predict_logits(model, frames).argmax(axis=1) == frames.labels
    is_clear = frames.snr_db >= CLEAR_SNR_DB
    return Accuracy(
        overall=float(is_right.mean()),
        by_snr=_mean_per_label(is_right, frames.snr_db),
        by_class=_mean_per_label(is_right[is_clear], frames.labels[is_clear]),
        n_frames=len(is_right),
    )


def _mean_per_label(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[int, float]:
    return {int(label): float(is_right[labels == label].mean()) for label in np.unique(labels)}


def measure_test_accuracy(model: nn.Module, file: RadioMLFile, split: Split) -> Accuracy:
    """Accuracy on the test part: for the report of a promoted network, never to choose by."""
    return evaluate_accuracy(model, load_test_frames(file, split))


@torch.no_grad()
def predict_logits(model: nn.Module, frames: Frames) -> np.ndarray:
    """Class scores (n, n_classes) float32, in evaluation mode."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits = [
        model(torch.from_numpy(frames.gather(slice(start, start + EVALUATION_BATCH_SIZE))).to(device)).cpu()
        for start in range(0, len(frames), EVALUATION_BATCH_SIZE)
    ]
    model.train(was_training)
    scores: np.ndarray = torch.cat(logits).numpy()
    return scores
