"""Unstructured magnitude pruning: weights below epsilon become zero, and stay zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.model import QuantizedNetwork, iterate_mac_modules

Masks = Mapping[str, Tensor]
"""Per MAC layer, True where the weight is kept; layer names as in `iterate_mac_modules`."""


@torch.no_grad()
def prune_weights(model: QuantizedNetwork, epsilon: float) -> Masks:
    """Sets weights with |w| < epsilon to zero; returns the masks of the kept weights. Weights that are zero stay zero.

    `epsilon` is in units of the float weight before quantization (BacalhauNet's epsilon, Rosa et al., ITU J-FET).
    """
    masks = {}
    for name, module in iterate_mac_modules(model):
        masks[name] = (module.weight.abs() >= epsilon) & (module.weight != 0)
    apply_masks(model, masks)
    return masks


@torch.no_grad()
def prune_fraction(model: QuantizedNetwork, fraction: float) -> Masks:
    """Sets a `fraction` of each layer's weights to zero, the smallest (rounded); returns the masks of the others."""
    masks = {}
    for name, module in iterate_mac_modules(model):
        order = module.weight.abs().flatten().argsort(stable=True)
        mask = torch.ones(len(order), dtype=torch.bool, device=order.device)
        mask[order[: round(fraction * len(order))]] = False
        masks[name] = mask.view_as(module.weight)
    apply_masks(model, masks)
    return masks


@torch.no_grad()
def apply_masks(model: QuantizedNetwork, masks: Masks) -> None:
    """Sets pruned weights back to zero. Called after each optimizer step, because momentum moves them."""
    for name, module in iterate_mac_modules(model):
        if name in masks:
            module.weight.mul_(masks[name])
