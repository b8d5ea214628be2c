"""How many frames a network classifies correctly: overall, per SNR and per class."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spaces.blocks import Features
from storage.dataset.frames import Frames, load_test_frames
from storage.dataset.radioml import RadioMLFile
from storage.dataset.split import Split
from workers.functional_quantizers import UnsupportedModuleError
from workers.integer.network import IntegerNetwork, NoIntegerFormError, make_integer_network
from workers.model import QuantizedNetwork

logger = logging.getLogger(__name__)

EVALUATION_BATCH_SIZE = 128
"""On a CPU: few enough frames that a layer's sums stay in its caches."""

GPU_BATCH_SIZE = 1024

CLEAR_SNR_DB = 10
"""Networks gain nothing from less noise than at this SNR label."""


@dataclass(frozen=True)
class Accuracy:
    """Fractions of frames classified correctly, 0 to 1; higher is better."""

    overall: float
    by_snr: Mapping[int, float]
    """Per SNR label in dB."""
    by_class: Mapping[int, float]
    """Per class label, over the frames of at least `CLEAR_SNR_DB`; empty where there are none."""
    n_frames: int
    is_exact: bool
    """Whether computed in integers, and so the same on every machine. With float parts, a few frames may get another
    class on another machine."""


def evaluate_accuracy(model: QuantizedNetwork, frames: Frames) -> Accuracy:
    """Accuracy of the model in evaluation mode: in integers, or by its own layers where some are float.

    Raises ValueError where there are no frames.
    """
    if len(frames.labels) == 0:
        raise ValueError("there are no frames to evaluate on")
    network = _make_network(model)
    classes = predict_logits(model, frames).argmax(axis=1) if network is None else predict_classes(network, frames)
    is_right = classes == frames.labels
    is_clear = frames.snr_db >= CLEAR_SNR_DB
    return Accuracy(
        overall=float(is_right.mean()),
        by_snr=_mean_per_label(is_right, frames.snr_db),
        by_class=_mean_per_label(is_right[is_clear], frames.labels[is_clear]),
        n_frames=len(is_right),
        is_exact=network is not None,
    )


def measure_test_accuracy(
    model: QuantizedNetwork, file: RadioMLFile, split: Split, n_threads: int, features: Features = "iq"
) -> Accuracy:
    """Accuracy on the test part: for the report of a promoted network, never for a choice.

    Sets the number of threads of this process, which changes no result.
    """
    torch.set_num_threads(n_threads)
    return evaluate_accuracy(model, load_test_frames(file, split, features))


def predict_classes(network: IntegerNetwork, frames: Frames, batch_size: int | None = None) -> NDArray[np.int64]:
    """The class of each frame, (n,): of equal sums the first. The batch size changes the speed alone."""
    if batch_size is None:
        batch_size = EVALUATION_BATCH_SIZE if network.device.type == "cpu" else GPU_BATCH_SIZE
    starts = range(0, len(frames), batch_size)
    codes = (_gather_codes(network, frames, slice(start, start + batch_size)) for start in starts)
    return np.concatenate([network.sum_classes(batch).argmax(axis=1) for batch in codes])


@torch.no_grad()
def predict_logits(model: nn.Module, frames: Frames) -> np.ndarray:
    """Class scores (n, n_classes) float32 of the model's own layers, in evaluation mode."""
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


def _make_network(model: QuantizedNetwork) -> IntegerNetwork | None:
    try:
        return make_integer_network(model)
    except (NoIntegerFormError, UnsupportedModuleError) as error:
        logger.info("%s: evaluated in floats", error)
        return None


def _gather_codes(network: IntegerNetwork, frames: Frames, indices: slice) -> NDArray[np.int8]:
    integers, scale = network.input_codes.integers, network.input_codes.scale
    if frames.scale is None or float(frames.scale) != scale:
        return network.encode(frames.gather(indices))
    codes: NDArray[np.int8] = np.clip(frames.gather_stored(indices), integers.lowest, integers.highest).astype(np.int8)
    return codes


def _mean_per_label(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[int, float]:
    return {int(label): float(is_right[labels == label].mean()) for label in np.unique(labels)}
