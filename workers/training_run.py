"""One phase of a network's training, epoch by epoch: what it changes, what an epoch is given, what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Adam

from workers.model import QuantizedNetwork
from workers.pruning import Masks


@dataclass(frozen=True)
class Trainee:
    """The network in training, and what changes it at each step."""

    model: QuantizedNetwork
    optimizer: Adam
    masks: Masks | None = None
    """Weights outside them stay at zero."""


@dataclass(frozen=True)
class EpochPlan:
    """What distinguishes one epoch of training from another."""

    order: Tensor
    """(n_frames,) int64: the frames in the order of training."""
    learning_rates: Sequence[float]
    """Of each step."""


class TrainingRun(Protocol):
    """Trains epoch by epoch: `HostRun`, or `DeviceRun` on a GPU."""

    def run_epoch(self, plan: EpochPlan) -> float:
        """Mean loss over the epoch's frames, nats."""

    def optimizer_state(self) -> dict[str, Any]:
        """What `Adam.load_state_dict` takes."""
