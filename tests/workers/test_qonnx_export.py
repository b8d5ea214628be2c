"""The exported file computes what the network computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.architecture import ArchitectureConfig, infer_shapes
from spaces.blocks import DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from storage.dataset.frames import Frames, load_training_frames
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from workers.checkpoint import write_weights
from workers.model import QuantizedNetwork, build_model, measure_density
from workers.pruning import keep_from_epsilon, prune_once
from workers.qonnx_export import (
    ExportError,
    check_export,
    execute_qonnx,
    export_evaluation,
    predict_exactly,
    write_qonnx,
)
from workers.training import Phase, train


def dsc(kernel_size: int, stride: int, channels: int, weight_bits: int, activation_bits: int) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        kernel_size=kernel_size,
        stride=stride,
        out_channels=channels,
        weight_bit_width=weight_bits,
        activation_bit_width=activation_bits,
    )


RESIDUAL_MIXED = ArchitectureConfig(
    blocks=(
        InputQuantizer(),
        dsc(15, 4, 12, 8, 6),
        dsc(9, 1, 12, 3, 4),
        dsc(7, 1, 12, 5, 5),
        dsc(7, 2, 16, 4, 7).model_copy(update={"depthwise_weight_bit_width": 6, "depthwise_activation_bit_width": 5}),
        GlobalPool(),
        Linear(out_features=24, weight_bit_width=6),
    )
)
"""Mixed bit widths, between blocks and inside one, and two residual sums in a row."""


@pytest.fixture(scope="module")
def frames(twin_path: Path) -> Frames:
    file = inspect_radioml(twin_path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1)
    return load_training_frames(file, split, min_snr_db=10, quantizer=None)


@pytest.fixture(scope="module")
def pruned_model(frames: Frames) -> QuantizedNetwork:
    """Trained, pruned and fine-tuned, so that batch norm and scales are what a search leaves behind."""
    model = build_model(RESIDUAL_MIXED, seed=0)
    phase = Phase(stage=0, epochs=2, learning_rate=0.01, weight_decay=1e-4, batch_size=128, restart_epochs=5)
    train(model, frames, phase, seed=0)
    pruner = prune_once(model, keep_from_epsilon, 0.1)
    train(model, frames, dataclasses.replace(phase, stage=1, epochs=1), seed=0, pruner=pruner)
    return model


@pytest.mark.slow
def test_pruned_mixed_bit_residual_network_has_the_same_logits(
    pruned_model: QuantizedNetwork, frames: Frames, tmp_path: Path
) -> None:
    assert [shape.is_residual for shape in infer_shapes(RESIDUAL_MIXED)[1:5]] == [False, True, True, False]
    assert min(measure_density(pruned_model).values()) < 0.9
    weights = tmp_path / "stage-1.safetensors"
    write_weights(weights, pruned_model)
    chosen = np.random.default_rng(0).choice(len(frames.labels), 100, replace=False)
    sample = frames.select(chosen)

    model_path, proof_path = export_evaluation(RESIDUAL_MIXED, weights, sample, tmp_path, n_checked=100)

    proof = np.load(proof_path)
    assert proof["frames"].shape == (100, 2, 1024)
    np.testing.assert_allclose(execute_qonnx(model_path, proof["frames"]), proof["logits"], atol=1e-4)
    assert len(np.unique(proof["logits"].argmax(axis=1))) > 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "proof.npz", "stage-1.safetensors"]


def test_recorded_logits_do_not_depend_on_the_order_of_the_frames_or_the_precision_of_sums(
    tone_architecture: ArchitectureConfig,
) -> None:
    model = build_model(tone_architecture, seed=0)
    iq = np.random.default_rng(0).standard_normal((120, 2, 64)).astype(np.float32)

    logits = predict_exactly(model, iq)

    assert logits.dtype == np.float64
    np.testing.assert_allclose(predict_exactly(model, iq[::-1].copy())[::-1], logits, rtol=0, atol=1e-12)
    with torch.no_grad():
        close = np.abs(model.eval()(torch.from_numpy(iq)).numpy() - logits).max(axis=1) < 1e-4
    assert close.mean() > 0.9  # in single precision a few frames have a sum on the other side of a threshold
    assert next(model.parameters()).dtype == torch.float32


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path, tone_architecture: ArchitectureConfig) -> None:
    model = build_model(tone_architecture, seed=0)
    iq = np.random.default_rng(0).standard_normal((4, 2, 64)).astype(np.float32)
    write_qonnx(model, tone_architecture, tmp_path / "model.onnx")
    with torch.no_grad():
        logits = model(torch.from_numpy(iq)).numpy()
    check_export(tmp_path / "model.onnx", iq, logits)
    with pytest.raises(ExportError, match="class scores differ from the network's by up to"):
        check_export(tmp_path / "model.onnx", iq, logits + 0.01)


def test_a_float_network_is_not_exported(tmp_path: Path, tone_frames: Frames) -> None:
    blocks = (dsc(9, 4, 8, 32, 32), GlobalPool(), Linear(out_features=4, weight_bit_width=32))
    architecture = ArchitectureConfig(blocks=blocks, frame_length=64, n_classes=4)
    with pytest.raises(ExportError, match="32-bit weights or activations"):
        export_evaluation(architecture, tmp_path / "none", tone_frames, tmp_path)
