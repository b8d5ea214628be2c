"""Batch norm's statistics of a network as it is: during training they lag behind the weights."""

from __future__ import annotations

import torch
from torch import nn

from storage.dataset.frames import Frames
from workers.model import QuantizedNetwork
from workers.training_path import TrainingPath

N_BATCHES, BATCH_SIZE = 60, 256


@torch.no_grad()
def reestimate_statistics(model: QuantizedNetwork, path: TrainingPath, frames: Frames, seed: int) -> None:
    """Replaces the running means and variances by their averages over training frames, with the weights unchanged.

    Takes 60 batches of 256 frames, or fewer where there are fewer frames. The seed decides which.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))
    whole = order[: max(len(order) // BATCH_SIZE * BATCH_SIZE, BATCH_SIZE)]
    model.train()
    for index, batch in enumerate(torch.split(whole, BATCH_SIZE)[:N_BATCHES]):
        for norm in norms:
            norm.momentum = 1 / (index + 1)  # the mean of all batches so far
        path.forward(path.load(frames, batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
