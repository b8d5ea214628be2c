"""The only training loop: Adam with cosine warm restarts, quantization-aware through the model's own layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from storage.frames import Frames
from workers.model import QuantizedNetwork, iterate_mac_modules
from workers.pruning import Masks, apply_masks
from workers.training_path import TrainingPath, choose_training_path


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of hyperparameters: the training proper, or the fine-tuning of a stage."""

    stage: int
    epochs: int
    learning_rate: float
    weight_decay: float
    """L2 penalty on the weights of MAC layers (lambda of the papers); never on scales, biases and batch norm."""
    batch_size: int
    restart_epochs: int
    """Epochs between warm restarts of the learning rate; a shorter phase is one period."""


@dataclass(frozen=True)
class EpochEnd:
    """What is known when an epoch ends."""

    epoch: int
    """Epochs done in this phase, from 1."""
    loss: float
    """Mean cross-entropy over the epoch's frames, nats."""
    optimizer_state: dict[str, object]


def train(
    model: QuantizedNetwork,
    frames: Frames,
    phase: Phase,
    seed: int,
    masks: Masks | None = None,
    epochs_done: int = 0,
    optimizer_state: dict[str, object] | None = None,
    on_epoch: Callable[[EpochEnd], None] = lambda _: None,
    path: TrainingPath | None = None,
) -> None:
    """Trains `model` in place for what is left of the phase; `on_epoch` is called after each epoch.

    Through `path`, by default the fastest there is for the model.

    The order of frames depends on (seed, stage, epoch) alone, so a resumed phase sees what an unbroken one would have.
    Weights outside `masks` stay at zero. Raises TrainingDivergedError when the loss becomes NaN or infinite.
    """
    device = next(model.parameters()).device
    labels = torch.from_numpy(frames.labels)
    optimizer = make_optimizer(model, phase)
    if optimizer_state is not None:
        optimizer.load_state_dict(optimizer_state)
    steps = math.ceil(len(labels) / phase.batch_size)
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=min(phase.restart_epochs, phase.epochs))
    model.train()
    path = path or choose_training_path(model)
    for epoch in range(epochs_done, phase.epochs):
        order = _shuffle(len(labels), seed, phase.stage, epoch)
        total_loss = 0.0
        for step, batch in enumerate(torch.split(order, phase.batch_size)):
            scheduler.step(epoch + step / steps)
            logits = path.forward(path.load(frames, batch))  # (batch, n_classes)
            loss = _train_step(model, logits, optimizer, labels[batch].to(device), masks)
            total_loss += loss * len(batch)
        mean_loss = total_loss / len(labels)
        if not math.isfinite(mean_loss):
            raise TrainingDivergedError(f"the loss is {mean_loss} in epoch {epoch + 1} of stage {phase.stage}")
        on_epoch(EpochEnd(epoch + 1, mean_loss, optimizer.state_dict()))


def make_optimizer(model: QuantizedNetwork, phase: Phase) -> Adam:
    """Adam with weight decay on the weights of MAC layers alone: decay would drive quantizer scales to zero."""
    weights = [module.weight for _, module in iterate_mac_modules(model)]
    decayed = {id(weight) for weight in weights}
    others = [parameter for parameter in model.parameters() if id(parameter) not in decayed]
    groups = [{"params": weights, "weight_decay": phase.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return Adam(groups, lr=phase.learning_rate)


def _shuffle(n_frames: int, seed: int, stage: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + stage * 10_007 + epoch) % 2**63)
    return torch.randperm(n_frames, generator=generator)


def _train_step(model: QuantizedNetwork, logits: Tensor, optimizer: Adam, labels: Tensor, masks: Masks | None) -> float:
    loss = nn.functional.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    if masks:
        apply_masks(model, masks)
    return loss.item()
