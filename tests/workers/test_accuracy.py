"""Accuracy is of integers where a network is of integers, and says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spaces.architecture import ArchitectureConfig
from spaces.blocks import DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from storage.dataset.frames import Frames
from storage.dataset.input_codes import encode, quantizer_scale
from workers.accuracy import evaluate_accuracy, predict_classes, predict_logits
from workers.integer.network import make_integer_network
from workers.layers import LinearBlock
from workers.model import QuantizedNetwork, build_model
from workers.training import Phase, train


@pytest.fixture
def trained(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> QuantizedNetwork:
    model = build_model(tone_architecture, seed=0)
    phase = Phase(stage=0, epochs=4, learning_rate=0.01, weight_decay=0.0, batch_size=32, restart_epochs=4)
    train(model, tone_frames, phase, seed=0)
    return model


def test_accuracy_is_the_fraction_of_integer_classes_that_are_right(
    trained: QuantizedNetwork, tone_frames: Frames
) -> None:
    accuracy = evaluate_accuracy(trained, tone_frames)
    network = make_integer_network(trained)
    sums = network.sum_classes(network.encode(tone_frames.gather(slice(None))))
    is_right = sums.argmax(axis=1) == tone_frames.labels
    assert accuracy.is_exact
    assert accuracy.n_frames == 256
    assert accuracy.overall == is_right.mean() > 0.5
    assert accuracy.by_snr == {snr: is_right[tone_frames.snr_db == snr].mean() for snr in (0, 10)}
    is_clear = tone_frames.snr_db == 10
    assert accuracy.by_class == {label: is_right[is_clear & (tone_frames.labels == label)].mean() for label in range(4)}


def test_classes_are_those_of_brevitas(trained: QuantizedNetwork, tone_frames: Frames) -> None:
    """Apart from near-ties, of which these frames hold none."""
    classes = predict_classes(make_integer_network(trained), tone_frames)
    assert np.array_equal(classes, predict_logits(trained, tone_frames).argmax(axis=1))


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_batch_size_does_not_show(trained: QuantizedNetwork, tone_frames: Frames, batch_size: int) -> None:
    network = make_integer_network(trained)
    assert np.array_equal(predict_classes(network, tone_frames, batch_size), predict_classes(network, tone_frames))


@pytest.mark.parametrize(
    "quantizer", [InputQuantizer(), InputQuantizer(bit_width=6, clip=2.0)], ids=["its own", "another"]
)
def test_stored_codes_are_evaluated_as_the_samples_they_stand_for(
    trained: QuantizedNetwork, tone_frames: Frames, quantizer: InputQuantizer
) -> None:
    samples = tone_frames.gather(slice(None))
    codes = dataclasses.replace(tone_frames, stored=encode(samples, quantizer), scale=quantizer_scale(quantizer))
    as_samples = dataclasses.replace(tone_frames, stored=codes.gather(slice(None)))
    network = make_integer_network(trained)
    assert np.array_equal(predict_classes(network, codes), predict_classes(network, as_samples))


def test_codes_beyond_the_range_of_the_networks_own_are_clamped_as_it_does(tone_frames: Frames) -> None:
    """Six bits of the scale of eight hold a quarter of its codes."""
    narrow = InputQuantizer(bit_width=6, clip=0.75)
    assert quantizer_scale(narrow) == quantizer_scale(InputQuantizer())
    blocks = (narrow, Linear(out_features=4, weight_bit_width=4))
    model = build_model(ArchitectureConfig(blocks=blocks, frame_length=64, n_classes=4), seed=0)
    samples = tone_frames.gather(slice(None))
    codes = dataclasses.replace(
        tone_frames, stored=encode(samples, InputQuantizer()), scale=quantizer_scale(InputQuantizer())
    )
    assert np.abs(codes.stored).max() > 32
    network = make_integer_network(model)
    assert np.array_equal(predict_classes(network, codes), predict_classes(network, tone_frames))


@pytest.mark.parametrize("bits", [(32, 4), (4, 32)], ids=["weights", "activations"])
def test_a_network_with_float_parts_is_evaluated_in_floats_and_says_so(
    tone_frames: Frames, bits: tuple[int, int]
) -> None:
    block = DepthwiseSeparable(
        kernel_size=9, stride=4, out_channels=8, weight_bit_width=bits[0], activation_bit_width=bits[1]
    )
    blocks = (InputQuantizer(), block, GlobalPool(), Linear(out_features=4, weight_bit_width=4))
    model = build_model(ArchitectureConfig(blocks=blocks, frame_length=64, n_classes=4), seed=0)
    accuracy = evaluate_accuracy(model, tone_frames)
    assert not accuracy.is_exact
    is_right = predict_logits(model, tone_frames).argmax(axis=1) == tone_frames.labels
    assert accuracy.overall == is_right.mean()


def test_of_equal_class_sums_the_first_is_the_class(trained: QuantizedNetwork, tone_frames: Frames) -> None:
    last = trained.blocks[-1]
    assert isinstance(last, LinearBlock)
    last.linear.weight.data.copy_(torch.tensor([[-1.0], [1.0], [1.0], [0.5]]).expand(4, 8))
    assert set(predict_classes(make_integer_network(trained), tone_frames)) <= {0, 1}


def test_no_frames_are_refused(trained: QuantizedNetwork, tone_frames: Frames) -> None:
    with pytest.raises(ValueError, match="there are no frames to evaluate on"):
        evaluate_accuracy(trained, tone_frames.select(np.arange(0)))
