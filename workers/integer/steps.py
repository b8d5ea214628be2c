"""The steps of a network in integers: sums of products of codes, counts of thresholds, pools, residual sums.

Codes are integers stored as floats: (batch, length, channels), or (batch, features) behind a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, float64
from torch.nn import functional as F

from workers.integer.threshold_counting import ThresholdCounter

Step = Callable[[Tensor], Tensor]
"""Codes to codes; the last step gives class sums."""


@dataclass(frozen=True)
class Convolution:
    """Sums of products, then their codes."""

    weight: Tensor
    """(out_channels, in_channels / groups, kernel_size): integers, in the float type that holds all sums exactly."""
    stride: int
    groups: int
    counter: ThresholdCounter

    def __call__(self, codes: Tensor) -> Tensor:
        sums = self._sum(codes.to(self.weight.dtype))  # (batch, out_length, out_channels)
        self.counter(sums.view(-1, sums.shape[-1]))
        return sums

    def _sum(self, codes: Tensor) -> Tensor:
        kernel_size = self.weight.shape[2]
        if (kernel_size, self.stride, self.groups) == (1, 1, 1):
            return _make_whole(F.linear(codes, self.weight.squeeze(2)))
        images = codes.transpose(1, 2).unsqueeze(2)  # (batch, in_channels, 1, length), channels last
        weight, padding = self.weight.unsqueeze(2), (0, kernel_size // 2)
        sums = F.conv2d(images, weight, None, (1, self.stride), padding, groups=self.groups)
        return _make_whole(sums).squeeze(2).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class ResidualSum:
    """Adds the codes of a chain to those that entered it, all of one quantizer; then codes of another quantizer."""

    chain: tuple[Convolution, ...]
    counter: ThresholdCounter

    def __call__(self, codes: Tensor) -> Tensor:
        sums = codes
        for convolution in self.chain:
            sums = convolution(sums)
        sums += codes
        self.counter(sums.view(-1, 1))
        return sums


@dataclass(frozen=True)
class Pool:
    """The maximum of `size` neighbours."""

    size: int

    def __call__(self, codes: Tensor) -> Tensor:
        images = codes.transpose(1, 2).unsqueeze(2)
        return F.max_pool2d(images, (1, self.size)).squeeze(2).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class FullyConnected:
    """Sums of products of all codes, then their codes. In the last layer, the class sums themselves."""

    weight: Tensor
    """(out_features, in_features): integers, in the float type that holds all sums exactly."""
    counter: ThresholdCounter | None

    def __call__(self, codes: Tensor) -> Tensor:
        features = codes if codes.ndim == 2 else codes.transpose(1, 2).flatten(1)
        sums = _make_whole(F.linear(features.to(self.weight.dtype), self.weight))
        return sums if self.counter is None else self.counter(sums)


def _make_whole(sums: Tensor) -> Tensor:
    """In float64 a library may sum by a transform, with errors far below one half. In float32 none does."""
    return sums.round_() if sums.dtype == float64 else sums
