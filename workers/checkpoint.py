"""What a trial keeps on disk while it trains: a killed trial continues after its last epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from storage.artifacts import write_by_rename
from workers.model import QuantizedNetwork
from workers.pruning import Masks

CHECKPOINT_FILE = "checkpoint.pt"
"""State at the end of the last epoch."""


EARLY_FILE = "early.safetensors"
"""The weights after the first epoch, in the folder of a trial that goes back to them after pruning."""


class CheckpointError(ValueError):
    """The weights on disk do not fit the network."""


@dataclass(frozen=True)
class Checkpoint:
    """A network in the middle of its training."""

    stage: int
    epoch: int
    """Epochs done in this stage."""
    model_state: Mapping[str, Tensor]
    optimizer_state: dict[str, object]
    training_seconds: float
    """Seconds spent on this stage so far."""
    masks: Masks | None = None
    """Of the kept weights; None in stage 0, and in files from before they were kept."""
    accuracies: Sequence[float] = ()
    """On the validation frames after each epoch of this stage, where its learning rate depends on them."""
    learning_rate: float | None = None
    """With which this stage began, where its schedule is plateau."""
    is_last: bool = False
    """Whether this stage has reached its goal."""


def stage_file(stage: int) -> str:
    """Name of the evaluation at the end of a stage, inside the trial's folder."""
    return f"stage-{stage}.json"


def weights_file(stage: int) -> str:
    """Name of the weights at the end of a stage, inside the trial's folder."""
    return f"stage-{stage}.safetensors"


def held_file(stage: int) -> str:
    """Name of the state in which a stage's learning rate began to fall: the next stage goes on from it."""
    return f"held-{stage}.pt"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file, by rename."""
    with write_by_rename(path) as unfinished:
        torch.save(vars(checkpoint), unfinished)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint, or None where there is no file. Reads tensors and plain values only, no pickled code."""
    if not path.exists():
        return None
    return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))


def write_weights(path: Path, model: QuantizedNetwork) -> None:
    """The model's parameters and buffers as safetensors, by rename."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with write_by_rename(path) as unfinished:
        save_file(state, unfinished)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, from `write_weights`' file."""
    return dict(load_file(path))


def load_weights(path: Path, model: QuantizedNetwork) -> None:
    """Fills the model from `write_weights`' file. Raises CheckpointError where it is missing or does not fit."""
    try:
        load_state(model, load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not the weights of this network: {error}") from error


def load_state(model: QuantizedNetwork, state: Mapping[str, Tensor]) -> None:
    """Fills the model's parameters and buffers."""
    model.load_state_dict(state)
