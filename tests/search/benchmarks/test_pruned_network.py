"""An example for hardware has the sparsity that was asked for, in each layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search.benchmarks.pruned_network import train_pruned_network
from spaces.architecture import ArchitectureConfig
from storage.dataset.frames import Frames
from workers.checkpoint import load_weights
from workers.model import build_model, iterate_mac_modules
from workers.pruning import keep_largest_of_each_layer, prune_once


def test_the_smallest_weights_of_each_layer_become_zero(tone_architecture: ArchitectureConfig) -> None:
    model = build_model(tone_architecture, seed=0)
    before = {name: module.weight.detach().abs().clone() for name, module in iterate_mac_modules(model)}

    masks = prune_once(model, keep_largest_of_each_layer, 0.75).masks

    assert set(masks) == set(before)
    for name, module in iterate_mac_modules(model):
        n_weights = module.weight.numel()
        assert int((module.weight == 0).sum()) == round(0.75 * n_weights)
        assert before[name][~masks[name]].max() <= before[name][masks[name]].min()


@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_weights_are_as_sparse_as_asked_after_fine_tuning(
    sparsity: float, tone_architecture: ArchitectureConfig, tone_frames: Frames, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"

    train_pruned_network(tone_architecture, tone_frames, sparsity, epochs=1, weights=weights)

    model = build_model(tone_architecture, seed=0)
    load_weights(weights, model)
    for _, module in iterate_mac_modules(model):
        assert int(torch.count_nonzero(module.weight == 0)) == round(sparsity * module.weight.numel())
