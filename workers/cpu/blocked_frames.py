"""Frames in blocks of 16: in native code, the frames of a block are the lanes of SIMD registers."""

from __future__ import annotations

from ctypes import c_float, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.cpu.native_library import load_library

LANES = 16
"""Frames of one block, as in native/vectors.h."""


@dataclass(frozen=True)
class Blocked:
    """Frames in blocks of 16; the lanes beyond `n_frames` are zero."""

    values: Tensor
    """(ceil(n_frames / 16), channels, length, 16) float32."""
    n_frames: int


@dataclass(frozen=True)
class Engine:
    """How layers are computed; the results do not depend on `n_threads`."""

    instruction_set: str | None = None
    """One of `native_library.available_instruction_sets()`; None for the fastest."""
    n_threads: int = 1


FASTEST = Engine()


def to_blocked(x: Tensor) -> Blocked:
    """Frames (batch, channels, length), float32, in blocks."""
    n_frames, channels, length = x.shape
    padded = nn.functional.pad(x, (0, 0, 0, 0, 0, -n_frames % LANES))
    return Blocked(padded.view(-1, LANES, channels, length).permute(0, 2, 3, 1).contiguous(), n_frames)


def from_blocked(x: Blocked) -> Tensor:
    """(batch, channels, length)."""
    _, channels, length, _ = x.values.shape
    return x.values.permute(0, 3, 1, 2).reshape(-1, channels, length)[: x.n_frames]


def gather_codes(codes: NDArray[np.int8], index: NDArray[np.int64], scale: float, engine: Engine = FASTEST) -> Blocked:
    """Frames `index` (batch,) of `codes` (frames, channels, length), times `scale`, in blocks.

    Raises IndexError where an index is none of the frames.
    """
    if codes.dtype != np.int8 or not codes.flags.c_contiguous:
        raise ValueError(f"codes are {codes.dtype}, contiguous: {codes.flags.c_contiguous}; expected contiguous int8")
    index = np.ascontiguousarray(index, np.int64)
    if len(index) and not 0 <= index.min() <= index.max() < len(codes):
        raise IndexError(
            f"index has {index.min()} to {index.max()}; expected 0 to {len(codes) - 1}, the frames there are"
        )
    _, channels, length = codes.shape
    values = torch.empty(-(-len(index) // LANES), channels, length, LANES, dtype=torch.float32)
    load_library(engine.instruction_set).gather_codes(
        c_void_p(codes.ctypes.data),
        c_void_p(index.ctypes.data),
        *map(c_int64, (len(index), channels * length)),
        c_float(scale),
        address_of(values),
    )
    return Blocked(values, len(index))


def address_of(tensor: Tensor) -> c_void_p:
    return c_void_p(tensor.data_ptr())
