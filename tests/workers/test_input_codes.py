"""A network cannot tell codes from the samples they were made of: neither its input quantizer nor its training can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.architecture import ArchitectureConfig
from spaces.blocks import DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from storage.dataset.frame_cache import read_rows
from storage.dataset.frames import Frames, load_training_frames, load_validation_frames
from storage.dataset.input_codes import encode, has_exact_codes, quantizer_scale
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from workers.accuracy import predict_logits
from workers.layers import InputQuantizerBlock
from workers.model import build_model
from workers.training import Phase, train

CLIPS = (3.0, 2.0, 1.0, 2.7, 0.1, 1 / 3, 4.265, 1e-6, 12345.678, 1e30)


def quantize(quantizer: InputQuantizer, samples: np.ndarray) -> Tensor:
    """What the network's own first block puts out."""
    block = InputQuantizerBlock(quantizer).eval()
    with torch.no_grad():
        out: Tensor = block(torch.from_numpy(samples)[None, None], None)
    return out[0, 0]


def hard_samples(quantizer: InputQuantizer) -> np.ndarray:
    """Every tie between two codes and its neighbours, every code, all beyond the clip, zeros of both signs, noise."""
    scale, limit = quantizer_scale(quantizer), 2 ** (quantizer.bit_width - 1)
    ties = (np.arange(-limit - 3, limit + 3, dtype=np.float32) + np.float32(0.5)) * scale
    codes = np.arange(-limit - 3, limit + 4, dtype=np.float32) * scale
    extremes = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)
    noise = np.random.default_rng(1).normal(0, quantizer.clip / 2, 10_000).astype(np.float32)
    exact = np.concatenate([ties, codes, extremes, noise])
    infinity = np.float32(np.inf)
    neighbours = [np.nextafter(exact, infinity), np.nextafter(exact, -infinity)]
    every = np.concatenate([exact, *neighbours])
    return np.asarray(every[np.isfinite(every)])


@pytest.mark.parametrize("bit_width", range(2, 9))
@pytest.mark.parametrize("clip", CLIPS)
def test_input_quantizer_puts_out_the_same_for_codes_as_for_samples(bit_width: int, clip: float) -> None:
    quantizer = InputQuantizer(bit_width=bit_width, clip=clip)
    samples = hard_samples(quantizer)
    codes = encode(samples, quantizer)
    of_samples, of_codes = quantize(quantizer, samples), quantize(quantizer, codes * quantizer_scale(quantizer))
    assert has_exact_codes(quantizer)
    assert codes.min() == -(2 ** (bit_width - 1))
    assert codes.max() == 2 ** (bit_width - 1) - 1
    is_same = of_samples.view(torch.int32) == of_codes.view(torch.int32)  # bit for bit
    is_zero = (of_samples == 0) & (of_codes == 0)  # of either sign: the codes have one zero
    assert bool((is_same | is_zero).all())
    assert torch.equal(of_codes, torch.from_numpy(codes * quantizer_scale(quantizer)))


@pytest.mark.parametrize("clip", [1e39, 1e-37, 1e-44])
def test_scale_outside_of_float32s_normal_range_has_no_exact_codes(clip: float) -> None:
    assert not has_exact_codes(InputQuantizer(clip=clip))


@pytest.mark.parametrize(("bit_width", "clip"), [(8, 3.0), (8, 2.0), (6, 2.7), (2, 1.0)])
def test_whole_twin_has_the_same_values_behind_the_input_quantizer(
    twin_path: Path, bit_width: int, clip: float
) -> None:
    quantizer = InputQuantizer(bit_width=bit_width, clip=clip)
    file = inspect_radioml(twin_path)
    samples = read_rows(file, np.arange(file.n_frames)).ravel()
    of_codes = quantize(quantizer, encode(samples, quantizer) * quantizer_scale(quantizer))
    assert torch.equal(quantize(quantizer, samples), of_codes)


def load_both(twin_path: Path, quantizer: InputQuantizer) -> tuple[Frames, Frames]:
    """The same training frames, as samples and as codes."""
    file = inspect_radioml(twin_path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1)
    return load_training_frames(file, split, 20, None), load_training_frames(file, split, 20, quantizer)


@pytest.mark.parametrize("quantizer", [InputQuantizer(), InputQuantizer(bit_width=5, clip=2.7)])
def test_training_on_codes_is_training_on_samples_bit_for_bit(twin_path: Path, quantizer: InputQuantizer) -> None:
    architecture = ArchitectureConfig(
        blocks=(
            quantizer,
            DepthwiseSeparable(out_channels=8, kernel_size=9, stride=8, weight_bit_width=6, activation_bit_width=6),
            GlobalPool(),
            Linear(out_features=24, weight_bit_width=6),
        )
    )
    phase = Phase(stage=0, epochs=1, learning_rate=0.01, weight_decay=1e-4, batch_size=128, restart_epochs=5)
    losses: list[float] = []
    models = []
    for frames in load_both(twin_path, quantizer):
        model = build_model(architecture, seed=0)
        train(model, frames, phase, seed=0, on_epoch=lambda end: losses.append(end.loss))
        models.append((model, frames))
    assert losses[0] == losses[1]
    assert [frames.stored.dtype.name for _, frames in models] == ["float32", "int8"]
    of_samples, of_codes = (model.state_dict() for model, _ in models)
    for name, tensor in of_samples.items():
        assert tensor.numpy().tobytes() == of_codes[name].numpy().tobytes(), name
    logits = [predict_logits(model, frames) for model, frames in models]
    np.testing.assert_array_equal(logits[0], logits[1])


def test_validation_is_scored_on_the_same_frames(twin_path: Path) -> None:
    file = inspect_radioml(twin_path)
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1)
    samples, codes = (load_validation_frames(file, split, quantizer) for quantizer in (None, InputQuantizer()))
    np.testing.assert_array_equal(samples.labels, codes.labels)
    np.testing.assert_array_equal(samples.snr_db, codes.snr_db)
    expected = encode(samples.gather(slice(None)), InputQuantizer())
    np.testing.assert_array_equal(codes.gather_stored(slice(None)), expected)
