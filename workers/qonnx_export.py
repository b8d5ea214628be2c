"""The QONNX file of a trained network, and its reference vectors."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import torch
from brevitas.core.quant.int_base import IntQuant
from brevitas.export import export_qonnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model
from torch import Tensor, nn

from spaces.architecture import NOT_QUANTIZED, ArchitectureConfig
from storage.artifacts import write_by_rename
from storage.dataset.frames import Frames
from workers.checkpoint import load_weights
from workers.model import QuantizedNetwork, build_model

MODEL_FILE = "model.onnx"

REFERENCE_FILE = "proof.npz"
"""Reference vectors: recorded frames, and the scores that a build must reproduce."""

LOGITS_TOLERANCE = 1e-3
"""How far a class score of QONNX may be from the network's: float rounding, far below one step of the sums."""

MAX_ROUNDED = 1 / 2
"""Fraction of frames that may differ by more.

QONNX runs in single precision: a sum near a threshold may round to the other side. That happened on up to 14 of 100
frames of an 8-bit VGG10. A wrong export differs on all frames. A build compares all of them in double precision.
"""

REFERENCE_BATCH_SIZE = 50


class ExportError(RuntimeError):
    """The exported file does not compute what the network computes, or the network cannot be exported."""


def export_evaluation(
    architecture: ArchitectureConfig, weights: Path, frames: Frames, folder: Path, n_checked: int = 16
) -> tuple[Path, Path]:
    """Writes the model and its reference vectors into the folder; returns the paths of both files.

    The reference vectors are `frames` (n, channels, length) float32 and `logits` (n, n_classes) float64. The model file
    is executed on the first `n_checked` frames. Raises ExportError where its class scores differ from the network's, or
    where the network has float weights or activations: no FPGA build takes them.
    """
    if not architecture.is_quantized:
        raise ExportError(NOT_QUANTIZED)
    model = build_model(architecture, seed=0)
    load_weights(weights, model)
    iq = frames.gather(slice(None))
    logits = predict_exactly(model, iq)
    model_path, reference_path = folder / MODEL_FILE, folder / REFERENCE_FILE
    write_qonnx(model, architecture, model_path)
    check_export(model_path, iq[:n_checked], logits[:n_checked])
    with write_by_rename(reference_path) as unfinished:
        np.savez_compressed(unfinished, frames=iq, logits=logits)
    return model_path, reference_path


def write_qonnx(model: QuantizedNetwork, architecture: ArchitectureConfig, path: Path) -> None:
    """Exports the model for one frame per call, weights inside the file. Leaves it on the CPU, in evaluation mode.

    The metadata of a network that is given features of the samples name them.
    """
    frame = torch.zeros(1, *architecture.input_shape)
    model.cpu().eval()
    with write_by_rename(path) as unfinished, _quiet():
        export_qonnx(model, args=frame, export_path=str(unfinished))
        wrapper = cleanup_model(ModelWrapper(str(unfinished))).transform(InferShapes())
        _drop_metadata(wrapper.model.graph)
        if architecture.features != "iq":
            wrapper.set_metadata_prop("features", architecture.features)
        onnx.save_model(wrapper.model, str(unfinished), save_as_external_data=False)
        unfinished.with_name(f"{unfinished.name}.data").unlink(missing_ok=True)


def _drop_metadata(graph: onnx.GraphProto) -> None:
    """Takes out where in which source file each node was made: most of the file, and paths of this machine."""
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]


def predict_exactly(model: QuantizedNetwork, iq: np.ndarray) -> np.ndarray:
    """Class scores (n, n_classes) float64 of frames (n, channels, length), by the model's layers in evaluation mode.

    These are the scores of FINN's integers. In double precision no sum is so near a threshold that the order of the
    additions decides its side; in single precision 5 of 200 frames of BacalhauNet got other scores.
    The scales stay those of single precision, which the exported file holds.
    """
    exact = copy.deepcopy(model).cpu().eval().double()
    for module in exact.modules():
        if isinstance(module, IntQuant):
            module.register_forward_pre_hook(_round_scale)
    batches = np.array_split(iq, max(len(iq) // REFERENCE_BATCH_SIZE, 1))
    with torch.no_grad():
        return np.concatenate([exact(torch.from_numpy(batch).double()).numpy() for batch in batches])


def _round_scale(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    scale, *others = arguments
    return (scale.float().double(), *others)


def check_export(path: Path, iq: np.ndarray, logits: np.ndarray) -> None:
    """Runs the file on frames (n, channels, length). Raises ExportError where its class scores are not `logits`."""
    differences = np.abs(execute_qonnx(path, iq) - logits).max(axis=1)
    n_different = int(np.count_nonzero(~(differences <= LOGITS_TOLERANCE)))
    if n_different > MAX_ROUNDED * len(logits):
        raise ExportError(
            f"{path}: class scores differ from the network's by up to {differences.max():.3g}, on {n_different} of "
            f"{len(logits)} frames by more than {LOGITS_TOLERANCE}; expected at most {MAX_ROUNDED:.0%} of the frames"
        )


def execute_qonnx(path: Path, iq: np.ndarray) -> np.ndarray:
    """Class scores (n, n_classes) float32 of the QONNX file for frames (n, channels, length), one at a time."""
    model = ModelWrapper(str(path))
    name_in, name_out = model.graph.input[0].name, model.graph.output[0].name
    scores = [execute_onnx(model, {name_in: frame[None]})[name_out][0] for frame in iq]
    return np.stack(scores)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporters, which print tables and warn about each other."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
