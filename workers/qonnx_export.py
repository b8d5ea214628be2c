"""The QONNX file of a trained network, and the proof that it computes the same."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model

from spaces.architecture import ArchitectureConfig
from storage.artifacts import write_by_rename
from storage.frames import Frames
from workers.accuracy import predict_logits
from workers.checkpoint import load_weights
from workers.model import QuantizedNetwork, build_model

MODEL_FILE, PROOF_FILE = "model.onnx", "proof.npz"

LOGITS_TOLERANCE = 1e-3
"""Largest difference of a logit between Brevitas and QONNX: float rounding, far below one step of the sums."""


class ExportError(RuntimeError):
    """The exported file does not compute what the network computes, or the network cannot be exported."""


def export_evaluation(
    architecture: ArchitectureConfig, weights: Path, frames: Frames, folder: Path, n_checked: int = 16
) -> tuple[Path, Path]:
    """Writes model.onnx and proof.npz into the folder; returns their paths.

    The proof holds frames (n, channels, length) and logits (n, n_classes), both float32. The model file is
    executed on the first `n_checked` frames. Raises ExportError where its logits differ from the network's,
    or where the network has float weights or activations, which no FPGA build takes.
    """
    if not architecture.is_quantized:
        raise ExportError(
            "the network has 32-bit weights or activations; expected at most 8 bits everywhere for an FPGA"
        )
    model = build_model(architecture, seed=0)
    load_weights(weights, model)
    iq, logits = frames.gather(slice(None)), predict_logits(model, frames)
    model_path, proof_path = folder / MODEL_FILE, folder / PROOF_FILE
    write_qonnx(model, architecture, model_path)
    check_export(model_path, iq[:n_checked], logits[:n_checked])
    with write_by_rename(proof_path) as unfinished:
        np.savez_compressed(unfinished, frames=iq, logits=logits)
    return model_path, proof_path


def write_qonnx(model: QuantizedNetwork, architecture: ArchitectureConfig, path: Path) -> None:
    """Exports the model for one frame per call, weights inside the file; leaves it on the CPU, in evaluation mode."""
    frame = torch.zeros(1, architecture.in_channels, architecture.frame_length)
    model.cpu().eval()
    with write_by_rename(path) as unfinished, _quiet():
        export_qonnx(model, args=frame, export_path=str(unfinished))
        wrapper = cleanup_model(ModelWrapper(str(unfinished))).transform(InferShapes())
        onnx.save_model(wrapper.model, str(unfinished), save_as_external_data=False)
        unfinished.with_name(f"{unfinished.name}.data").unlink(missing_ok=True)


def check_export(path: Path, iq: np.ndarray, logits: np.ndarray) -> None:
    """Runs the file on frames (n, channels, length). Raises ExportError where a logit is not the given one."""
    difference = float(np.abs(execute_qonnx(path, iq) - logits).max())
    if not difference <= LOGITS_TOLERANCE:
        raise ExportError(
            f"{path}: a logit differs by {difference:.3g} from the network's; expected {LOGITS_TOLERANCE}"
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
