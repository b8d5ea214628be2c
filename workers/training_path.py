"""Which execution of a network training goes through: the fastest there is for it on this machine."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from enum import StrEnum

import torch

from workers.blocked_frames import Engine
from workers.functional_quantizers import NoTwinError
from workers.functional_twin import TrainingForward, make_channels_last_forward, make_exact_forward
from workers.model import QuantizedNetwork
from workers.native_forward import run_native
from workers.native_library import NativeLibraryError, load_library
from workers.network_stages import list_stages

logger = logging.getLogger(__name__)


class PathName(StrEnum):
    """The same mathematics four times; sums take another order, so two paths train as two seeds would."""

    NATIVE = "native"
    """C++ over blocks of 16 frames, on a CPU with a compiler."""
    CHANNELS_LAST = "channels-last"
    """Plain torch, on any CPU."""
    FUNCTIONAL = "functional"
    """Plain torch in the layers' own order: other devices."""
    BREVITAS = "brevitas"
    """The layers themselves, for what the others do not know."""


@dataclass(frozen=True)
class TrainingPath:
    """An execution of one network, on its own parameters and buffers."""

    name: PathName
    forward: TrainingForward


def choose_training_path(model: QuantizedNetwork) -> TrainingPath:
    """The fastest for this model where it is; its results are those of the model up to rounding."""
    try:
        stages = list_stages(model)
    except NoTwinError as error:
        logger.warning("%s; it is trained through its Brevitas layers, several times slower", error)
        return TrainingPath(PathName.BREVITAS, model)
    if next(model.parameters()).device.type != "cpu":
        return TrainingPath(PathName.FUNCTIONAL, make_exact_forward(model))
    if not _is_native_available():
        return TrainingPath(PathName.CHANNELS_LAST, make_channels_last_forward(model))
    engine = Engine(n_threads=torch.get_num_threads())
    return TrainingPath(PathName.NATIVE, lambda frames: run_native(stages, frames, engine))


@functools.cache
def _is_native_available() -> bool:
    try:
        load_library(None)
    except NativeLibraryError as error:
        logger.warning("%s; training takes the portable path, two to three times slower", error)
        return False
    return True
