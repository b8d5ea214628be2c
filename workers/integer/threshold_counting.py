"""How many thresholds an integer sum has reached: by an affine function that is proved right, or by search.

Thresholds of one channel are nearly equidistant, so its codes are slope * sum + offset, rounded. Float arithmetic keeps
the order of sums, fused or not. So the function is right for all sums if it is right at the two sums beside each
threshold. There its value must be farther from the tie than the error of the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.integer.thresholds import Floats, Integers, SumRange

TILE_ELEMENTS = 2**15
"""Sums rounded at once in float64: a quarter of a mebibyte, which fits into a core's cache."""

MAX_EXCEPTIONS = 0.25
"""A float type may be too coarse for some channels. Up to this share, only those are counted in a finer way."""


@dataclass(frozen=True)
class ThresholdCounter:
    """Turns sums into codes. All ways give the same codes; they differ in speed alone."""

    thresholds: Tensor
    """(channels, highest code), in the float type of the sums."""
    affine: tuple[Tensor, Tensor] | None
    """Slope and offset (channels,), float32 or float64; None where codes are searched for."""
    exceptions: ThresholdCounter | None
    """Counts for `exception_channels` instead; None where there are none."""
    exception_channels: Tensor

    def __call__(self, sums: Tensor) -> Tensor:
        """Replaces sums (rows, channels) by their codes, and returns the same tensor."""
        if self.affine is None:
            return sums.copy_(torch.searchsorted(self.thresholds, sums.T.contiguous(), right=True).T)
        if self.exceptions is None:
            return self._round(sums, *self.affine)
        exceptions = self.exceptions(sums[:, self.exception_channels])
        self._round(sums, *self.affine)
        sums[:, self.exception_channels] = exceptions
        return sums

    def _round(self, sums: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
        highest = self.thresholds.shape[1]
        if slope.dtype == sums.dtype:
            return torch.addcmul(offset, sums, slope, out=sums).clamp_(0, highest).round_()
        for tile in torch.split(sums, max(1, TILE_ELEMENTS // sums.shape[1])):
            wide = tile.to(slope.dtype)
            tile.copy_(torch.addcmul(offset, wide, slope, out=wide).clamp_(0, highest).round_())
        return sums

    def to(self, device: torch.device) -> ThresholdCounter:
        return ThresholdCounter(
            self.thresholds.to(device),
            self.affine and (self.affine[0].to(device), self.affine[1].to(device)),
            self.exceptions and self.exceptions.to(device),
            self.exception_channels.to(device),
        )


def make_counter(thresholds: Integers, slope: Floats, sums: SumRange, sums_type: torch.dtype) -> ThresholdCounter:
    """Counts `thresholds` (channels, highest code) of sums of type `sums_type`, which holds them exactly.

    `slope` (channels,) is about the number of codes per sum, and not negative.
    """
    finer_types = (torch.float32, torch.float64) if sums_type == torch.float32 else (torch.float64,)
    return _make(thresholds, slope, sums, sums_type, finer_types)


def _make(
    thresholds: Integers, slope: Floats, sums: SumRange, sums_type: torch.dtype, types: tuple[torch.dtype, ...]
) -> ThresholdCounter:
    as_floats = torch.from_numpy(thresholds).to(sums_type)
    if not types:
        return ThresholdCounter(as_floats, None, None, torch.empty(0, dtype=torch.int64))
    slope_in_type, offset = _fit_affine(thresholds, slope, sums, types[0])
    unproved = np.flatnonzero(np.isnan(offset))
    if len(unproved) > MAX_EXCEPTIONS * len(thresholds):
        return _make(thresholds, slope, sums, sums_type, types[1:])
    exceptions = None
    if len(unproved):
        part = SumRange(sums.lowest[unproved], sums.highest[unproved])
        exceptions = _make(thresholds[unproved], slope[unproved], part, sums_type, types[1:])
    affine = tuple(torch.from_numpy(np.nan_to_num(values)).to(types[0]) for values in (slope_in_type, offset))
    return ThresholdCounter(as_floats, (affine[0], affine[1]), exceptions, torch.from_numpy(unproved))


def _fit_affine(thresholds: Integers, slope: Floats, sums: SumRange, float_type: torch.dtype) -> tuple[Floats, Floats]:
    """Slope and offset as numbers of the type. The offset is NaN where none is proved to be right.

    With u half the type's eps, the error of a product and a sum is at most u * (|product| + |result|), and less if they
    are fused. The rest of the tolerance is for the arithmetic of this proof, in float64.
    """
    tolerance = 0.51 * torch.finfo(float_type).eps + 4 * float(np.finfo(np.float64).eps)
    slope = _round_to(slope, float_type)
    ties = np.arange(thresholds.shape[1]) + 0.5
    lowest, highest = sums.lowest[:, None], sums.highest[:, None]
    with np.errstate(all="ignore"):
        reached, below = slope[:, None] * thresholds, slope[:, None] * (thresholds - 1)
        least = ties - reached + tolerance * (np.abs(reached) + ties)
        most = ties - below - tolerance * (np.abs(below) + ties)
        least = np.where(thresholds <= highest, least, -np.inf).max(axis=1)
        most = np.where(thresholds > lowest, most, np.inf).min(axis=1)
        middle = (np.where(np.isinf(least), most - 2, least) + np.where(np.isinf(most), least + 2, most)) / 2
        offset = _round_to(middle, float_type)
        is_proved = (least < offset) & (offset < most) & np.isfinite(offset)
    return slope, np.where(is_proved, offset, np.nan)


def _round_to(values: Floats, float_type: torch.dtype) -> Floats:
    rounded: Floats = torch.from_numpy(values).to(float_type).double().numpy()
    return rounded
