"""One phase of a network's training, epoch by epoch: what it changes, what an epoch is given, what it returns."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Adam

from workers.model import QuantizedNetwork
from workers.pruning import Pruner, Pruning


@dataclass(frozen=True)
class Trainee:
    """The network in training, and what changes it at each step."""

    model: QuantizedNetwork
    optimizer: Adam
    pruner: Pruner | None = None
    """Weights outside its masks stay at zero."""


@dataclass(frozen=True)
class TrainingState:
    """A network in the middle of its training, as it can go on."""

    model: Mapping[str, Tensor]
    """Parameters and buffers."""
    optimizer: dict[str, Any]
    """What `Adam.load_state_dict` takes."""


@dataclass(frozen=True)
class EpochPlan:
    """What distinguishes one epoch of training from another."""

    order: Tensor
    """(n_frames,) int64: the frames in the order of training."""
    learning_rates: Sequence[float]
    """Of each step."""
    prunings: Mapping[int, Pruning] = field(default_factory=dict)
    """After which steps the pruner removes weights."""
    held_step: int | None = None
    """The step after which the state is copied."""


class TrainingRun(Protocol):
    """Trains epoch by epoch: `HostRun`, or `DeviceRun` on a GPU."""

    def run_epoch(self, plan: EpochPlan) -> float:
        """Mean loss over the epoch's frames, nats."""

    def optimizer_state(self) -> dict[str, Any]:
        """What `Adam.load_state_dict` takes."""

    @property
    def held(self) -> TrainingState | None:
        """The copy after the plan's `held_step`, on the device of the model."""


def copy_state(trainee: Trainee, optimizer_state: dict[str, Any]) -> TrainingState:
    """A copy that training does not change any more."""
    return copy.deepcopy(TrainingState(trainee.model.state_dict(), optimizer_state))
