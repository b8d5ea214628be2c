"""The only training loop: Adam, quantization-aware through the model's own layers, pruned on the way or before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from storage.dataset.frames import Frames
from workers.gpu.device_frames import frames_on_device
from workers.gpu.training import DeviceRun
from workers.learning_rate import HOLD, WARM_UP, cosine_learning_rate, held_learning_rate, plateau_learning_rate
from workers.model import QuantizedNetwork, iterate_mac_modules
from workers.pruning import Pruner, Pruning
from workers.training_path import PathName, TrainingPath, choose_training_path
from workers.training_run import EpochPlan, Trainee, TrainingRun, TrainingState, copy_state


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
    restart_epochs: int | None = None
    """Epochs between warm restarts of the learning rate; a shorter phase is one period."""
    ramp: Ramp | None = None
    """How the pruner's amount changes while weights are removed; None where none is removed in the phase."""
    plateau: Plateau | None = None
    """When the rate is lowered. Where this and `restart_epochs` are None, it is held, then lowered."""

    @property
    def is_held(self) -> bool:
        """Whether the learning rate is held and then lowered, and later phases go on from where it was held."""
        return self.restart_epochs is None and self.plateau is None

    def reaches_goal(self, loss: float, accuracy: float) -> bool:
        """Whether the phase ends before its epochs, with an epoch of this training loss and validation accuracy."""
        if self.plateau is None:
            return False
        goal, lowest = self.plateau.stop_at, self.plateau.stop_loss
        return (goal is not None and accuracy >= goal) or (lowest is not None and loss <= lowest)


@dataclass(frozen=True)
class Plateau:
    """A rate that is lowered when validation accuracy no longer rises; the network is measured after each epoch."""

    patience: int
    """Epochs in a row that may be no better than all before."""
    factor: float
    """What the rate is multiplied by then."""
    stop_at: float | None = None
    """The phase ends with the epoch that reaches this accuracy; None: after all its epochs."""
    stop_loss: float | None = None
    """The phase ends with the epoch whose training loss is this or less, nats."""


@dataclass(frozen=True)
class Ramp:
    """The amount of a pruner from its first to its last pruning in a phase (Zhu and Gupta 2017, equation 1)."""

    first: float
    last: float

    def list_prunings(self, n_steps: int) -> dict[int, Pruning]:
        """After which of a phase's steps to prune, and the amount there.

        The amount moves while the learning rate is held. It is then kept, because weights still become zero or leave
        zero, until half of what is left: the rest trains the network as it stays.
        """
        hold, end = HOLD * n_steps, max(round((1 + HOLD) / 2 * n_steps) - 1, 0)
        every = min(PRUNING_STEPS, math.ceil(n_steps / 20))
        steps = [*range(every - 1, end, every), end]
        amounts = {step: self.last + (self.first - self.last) * max(1 - step / hold, 0.0) ** 3 for step in steps}
        return {**{step: Pruning(amount) for step, amount in amounts.items()}, end: Pruning(self.last, is_last=True)}


PRUNING_STEPS = 50
"""Steps from one pruning to the next; fewer where a phase is short."""


@dataclass(frozen=True)
class EpochEnd:
    """What is known when an epoch ends."""

    epoch: int
    """Epochs done in this phase, from 1."""
    loss: float
    """Mean cross-entropy over the epoch's frames, nats."""
    optimizer_state: dict[str, Any]
    held: TrainingState | None
    """The network as it was when the learning rate began to fall, if that was in this epoch."""
    accuracies: tuple[float, ...] = ()
    """On the validation frames, after each epoch of the phase; empty where its rate does not depend on them."""
    is_last: bool = False
    """Whether it reached the phase's goal, and no other follows."""


@dataclass(frozen=True)
class Resumption:
    """Where an earlier attempt at the phase stopped, or the phase before, with no epoch done."""

    epochs_done: int
    optimizer_state: dict[str, Any]
    accuracies: tuple[float, ...] = ()
    """As in `EpochEnd`."""
    is_last: bool = False
    """As in `EpochEnd`: nothing is left to train."""


def train(
    model: QuantizedNetwork,
    frames: Frames,
    phase: Phase,
    seed: int,
    pruner: Pruner | None = None,
    resumption: Resumption | None = None,
    on_epoch: Callable[[EpochEnd], None] = lambda _: None,
    path: TrainingPath | None = None,
    until: int | None = None,
    validate: Callable[[], float] | None = None,
) -> None:
    """Trains `model` in place for what is left of the phase, and calls `on_epoch` after each epoch.

    With `until` it pauses when so many epochs of the phase are done.
    A phase with a plateau needs `validate`, the accuracy of the model as it is on the validation frames.
    `path` is by default the fastest there is for the model. Weights outside the pruner's masks stay at zero, and where
    the phase has a ramp the pruner removes more of them.
    The order of frames depends on (seed, stage, epoch) alone, so a resumed phase sees what an unbroken one would have.
    Raises TrainingDivergedError when the loss becomes NaN or infinite.
    """
    path = path or choose_training_path(model)
    optimizer = make_optimizer(model, phase)
    if resumption is not None:
        optimizer.load_state_dict(resumption.optimizer_state)
        optimizer.param_groups[0]["weight_decay"] = phase.weight_decay  # another phase may have had another
    model.train()
    run = _start_run(Trainee(model, optimizer, pruner), path, frames, phase.batch_size)
    accuracies, is_last = (resumption.accuracies, resumption.is_last) if resumption else ((), False)
    for epoch in range(resumption.epochs_done if resumption else 0, phase.epochs if until is None else until):
        if is_last:
            return
        plan = plan_epoch(phase, len(frames), seed, epoch, accuracies)
        mean_loss = run.run_epoch(plan)
        if not math.isfinite(mean_loss):
            raise TrainingDivergedError(f"the loss is {mean_loss} in epoch {epoch + 1} of stage {phase.stage}")
        held = None if plan.held_step is None else run.held
        if phase.plateau is not None:
            assert validate is not None, "the rate depends on the accuracy"
            accuracies = (*accuracies, validate())
            is_last = phase.reaches_goal(mean_loss, accuracies[-1])
        on_epoch(EpochEnd(epoch + 1, mean_loss, run.optimizer_state(), held, accuracies, is_last))


def plan_epoch(phase: Phase, n_frames: int, seed: int, epoch: int, accuracies: Sequence[float] = ()) -> EpochPlan:
    """What an epoch of the phase, from 0, is given, whichever run trains it.

    `accuracies` are those after the epochs before, which the rate of a phase with a plateau depends on.
    """
    steps = math.ceil(n_frames / phase.batch_size)
    own = range(epoch * steps, (epoch + 1) * steps)
    prunings = phase.ramp.list_prunings(steps * phase.epochs) if phase.ramp else {}
    held_step = max(round(HOLD * steps * phase.epochs) - 1, 0) if phase.is_held else -1
    return EpochPlan(
        order=_shuffle(n_frames, seed, phase.stage, epoch),
        learning_rates=_list_learning_rates(phase, epoch, steps, accuracies),
        prunings={step - own.start: pruning for step, pruning in prunings.items() if step in own},
        held_step=held_step - own.start if held_step in own else None,
    )


class HostRun:
    """Batches gathered in the host's memory, and trained one by one."""

    def __init__(self, trainee: Trainee, path: TrainingPath, frames: Frames, batch_size: int) -> None:
        self._trainee, self._path, self._frames, self._batch_size = trainee, path, frames, batch_size
        self._labels = torch.from_numpy(frames.labels)
        self.held: TrainingState | None = None

    def run_epoch(self, plan: EpochPlan) -> float:
        batches = torch.split(plan.order, self._batch_size)
        losses = []
        for step, (batch, rate) in enumerate(zip(batches, plan.learning_rates, strict=True)):
            losses.append(self._step(batch, rate))
            if step in plan.prunings:
                assert self._trainee.pruner is not None  # a phase with a ramp is given one
                self._trainee.pruner.prune(plan.prunings[step], self._trainee.optimizer)
            if step == plan.held_step:
                self.held = copy_state(self._trainee, self.optimizer_state())
        return sum(loss * len(batch) for loss, batch in zip(losses, batches, strict=True)) / len(self._labels)

    def optimizer_state(self) -> dict[str, Any]:
        return self._trainee.optimizer.state_dict()

    def _step(self, batch: Tensor, learning_rate: float) -> float:
        optimizer = self._trainee.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        logits = self._path.forward(self._path.load(self._frames, batch))  # (batch, n_classes)
        loss = nn.functional.cross_entropy(logits, self._labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if self._trainee.pruner:
            self._trainee.pruner.apply()
        return loss.item()


def _start_run(trainee: Trainee, path: TrainingPath, frames: Frames, batch_size: int) -> TrainingRun:
    device = next(trainee.model.parameters()).device
    if device.type == "cpu":
        return HostRun(trainee, path, frames, batch_size)
    is_captured = path.name is not PathName.BREVITAS  # its layers ask the device for values
    return DeviceRun(trainee, path.forward, frames_on_device(frames, device), batch_size, is_captured)


def make_optimizer(model: QuantizedNetwork, phase: Phase) -> Adam:
    """Adam with weight decay on the weights of MAC layers alone: decay would drive quantizer scales to zero.

    Fused: one operation for all parameters, which at batch 64 saves a twentieth of a step.
    """
    weights = [module.weight for _, module in iterate_mac_modules(model)]
    decayed = {id(weight) for weight in weights}
    others = [parameter for parameter in model.parameters() if id(parameter) not in decayed]
    groups = [{"params": weights, "weight_decay": phase.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return Adam(groups, lr=phase.learning_rate, fused=True)


def _list_learning_rates(phase: Phase, epoch: int, steps: int, accuracies: Sequence[float]) -> list[float]:
    """Of each step of the epoch."""
    if phase.plateau is not None:
        plateau = phase.plateau
        return [plateau_learning_rate(phase.learning_rate, accuracies, plateau.patience, plateau.factor)] * steps
    return [_learning_rate(phase, epoch + step / steps) for step in range(steps)]


def _learning_rate(phase: Phase, epochs: float) -> float:
    if phase.restart_epochs is None:
        return held_learning_rate(phase.learning_rate, epochs / phase.epochs, WARM_UP if phase.stage == 0 else 0.0)
    return cosine_learning_rate(phase.learning_rate, min(phase.restart_epochs, phase.epochs), epochs)


def _shuffle(n_frames: int, seed: int, stage: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + stage * 10_007 + epoch) % 2**63)
    return torch.randperm(n_frames, generator=generator)
