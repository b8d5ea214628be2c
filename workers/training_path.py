"""Which execution of a network trains it: the fastest that this machine has for it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storage.dataset.frames import Frames
from workers.cpu.blocked_frames import Blocked, Engine, gather_codes
from workers.cpu.native_forward import run_native
from workers.cpu.native_library import find_problem
from workers.functional_network import make_channels_last_forward, make_exact_forward
from workers.functional_quantizers import UnsupportedModuleError
from workers.fused_layers import InputLayer, list_fused_layers
from workers.model import QuantizedNetwork

logger = logging.getLogger(__name__)


class PathName(StrEnum):
    """Four executions of the same mathematics. Their sums have another order, so two paths differ as two seeds do."""

    NATIVE = "native"
    """C++ over blocks of 16 frames, on a CPU with a compiler."""
    CHANNELS_LAST = "channels-last"
    """Plain torch, on any CPU."""
    FUNCTIONAL = "functional"
    """Plain torch in the layers' own order: other devices."""
    BREVITAS = "brevitas"
    """The layers themselves, for modules that the others do not know."""


Batch = Tensor | Blocked
"""Frames as one path takes them."""


@dataclass(frozen=True)
class TrainingPath:
    """An execution of one network, on its own parameters and buffers."""

    name: PathName
    load: Callable[[Frames, Tensor], Batch]
    """The frames of these indices (batch,)."""
    forward: Callable[[Any], Tensor]
    """Class scores (batch, n_classes) of a batch that `load` gave, with gradients to the parameters."""


def choose_training_path(model: QuantizedNetwork) -> TrainingPath:
    """The fastest path for this model on its device. Its results are the model's own up to rounding."""
    return make_training_path(model, _choose_name(model))


def make_training_path(model: QuantizedNetwork, name: PathName) -> TrainingPath:
    """This path through the model. Raises UnsupportedModuleError where the path does not know one of its modules."""
    load = partial(_load_samples, device=next(model.parameters()).device)
    match name:
        case PathName.NATIVE:
            engine, layers = Engine(n_threads=torch.get_num_threads()), list_fused_layers(model)
            first = layers[0]
            scale = float(first.quantizer.scale) if isinstance(first, InputLayer) else None
            return TrainingPath(name, partial(_load_blocks, scale, engine), partial(run_native, layers, engine=engine))
        case PathName.CHANNELS_LAST:
            return TrainingPath(name, load, make_channels_last_forward(model))
        case PathName.FUNCTIONAL:
            return TrainingPath(name, load, make_exact_forward(model))
        case PathName.BREVITAS:
            return TrainingPath(name, load, model)


def _choose_name(model: QuantizedNetwork) -> PathName:
    try:
        list_fused_layers(model)
    except UnsupportedModuleError as error:
        logger.warning("%s; it is trained through its Brevitas layers, several times slower", error)
        return PathName.BREVITAS
    if next(model.parameters()).device.type != "cpu":
        return PathName.FUNCTIONAL
    return PathName.NATIVE if _is_native_available() else PathName.CHANNELS_LAST


def _load_samples(frames: Frames, indices: Tensor, device: torch.device) -> Tensor:
    return torch.from_numpy(frames.gather(indices.numpy())).to(device)


def _load_blocks(scale: float | None, engine: Engine, frames: Frames, indices: Tensor) -> Batch:
    """Blocks straight from the shared codes, if these are codes of the network's own input quantizer; else samples."""
    if frames.scale is None or float(frames.scale) != scale:
        return torch.from_numpy(frames.gather(indices.numpy()))
    places = indices.numpy() if frames.positions is None else frames.positions[indices.numpy()]
    return gather_codes(frames.stored.view(np.int8), places, float(frames.scale), engine)


@functools.cache
def _is_native_available() -> bool:
    problem = find_problem()
    if problem is not None:
        logger.warning("%s; training takes the portable path, two to three times slower", problem)
    return problem is None
