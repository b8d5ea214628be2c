"""A network trained, pruned to a fraction of its weights and fine-tuned: an example for hardware, not a search."""

from __future__ import annotations

from pathlib import Path

from spaces.architecture import ArchitectureConfig
from storage.dataset.frames import Frames
from workers.checkpoint import write_weights
from workers.model import build_model
from workers.pruning import keep_largest_of_each_layer, prune_once
from workers.training import Phase, train

BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, RESTART_EPOCHS = 32, 0.01, 1e-4, 5


def train_pruned_network(
    architecture: ArchitectureConfig, frames: Frames, sparsity: float, epochs: int, weights: Path
) -> None:
    """Trains for `epochs` and writes the weights. With a `sparsity` above 0 it prunes, and fine-tunes for one epoch.

    `sparsity` is the fraction of each layer's weights that become zero.
    """
    model = build_model(architecture, seed=0)
    train(model, frames, _phase(0, epochs), seed=0)
    if sparsity > 0:
        train(model, frames, _phase(1, 1), seed=0, pruner=prune_once(model, keep_largest_of_each_layer, sparsity))
    write_weights(weights, model)


def _phase(stage: int, epochs: int) -> Phase:
    return Phase(stage, epochs, LEARNING_RATE, WEIGHT_DECAY, BATCH_SIZE, RESTART_EPOCHS)
