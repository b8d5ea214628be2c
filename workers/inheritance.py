"""Weights of a trained network for another one: what fits is taken over, the rest begins as it was drawn.

Kernels are cut or padded with zeros about their middle. Where a layer has fewer channels, those that matter least are
left out; where it has more, the new ones are as drawn. Blocks are matched by their place; branches begin as drawn.
Idea: Elsken et al., "Efficient Multi-objective Neural Architecture Search via Lamarckian Evolution", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.layers import ParallelBlock
from workers.model import QuantizedNetwork

Taken = Tensor
"""Of each channel of the child the parent's channel that it takes over; -1: none. (channels,) int64."""

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class _Layer:
    """A layer with its batch norm, by the names of its tensors."""

    weight: str
    norm: str | None


def inherit_weights(child: QuantizedNetwork, parent: Mapping[str, Tensor]) -> None:
    """Fills the child from the state of a parent, wherever a block of both has a layer of the same name."""
    state = dict(child.state_dict())
    taken: Taken | None = None
    """Of the signal that enters the next block; None: all channels as they are."""
    for index, block in enumerate(child.blocks):
        prefix = f"blocks.{index}."
        if isinstance(block, ParallelBlock):
            taken = torch.full((block.out_channels,), -1)
            continue
        entered = gated = taken
        for name in [name for name, _ in block.named_children() if f"{prefix}{name}.weight" in state]:
            if name.endswith("norm"):
                continue
            norm = f"{prefix}{name}_norm"
            layer = _Layer(f"{prefix}{name}.weight", norm if f"{norm}.weight" in state else None)
            is_depthwise = name == "depthwise"
            if not _has(parent, layer, f"{norm}.weight"):
                taken = torch.full((state[layer.weight].shape[0],), -1)
                continue
            is_last = name in ("pointwise", "project") and getattr(block, "is_residual", False)
            same_as = taken if is_depthwise else gated if name == "excite" else entered if is_last else None
            taken = _inherit_layer(state, parent, layer, None if is_depthwise else taken, same_as)
            gated = taken if is_depthwise else gated
    for name, tensor in state.items():
        if "scaling_impl" in name and name in parent and parent[name].shape == tensor.shape:
            state[name] = parent[name]
    child.load_state_dict(state)


def _has(parent: Mapping[str, Tensor], layer: _Layer, norm: str) -> bool:
    """Whether the parent has the layer, with a norm where the child has one."""
    return layer.weight in parent and (norm in parent) == (layer.norm is not None)


def _inherit_layer(
    state: dict[str, Tensor],
    parent: Mapping[str, Tensor],
    layer: _Layer,
    entering: Taken | None,
    same_as: Taken | None,
) -> Taken:
    """Fills one layer and its norm. Returns which of the parent's channels leave it: those of `same_as`, if given."""
    own, theirs = state[layer.weight], parent[layer.weight]
    left = _pick_channels(own.shape[0], theirs, parent, layer.norm) if same_as is None else same_as
    if int(left.max()) >= theirs.shape[0]:  # a pool stands where the parent has a layer: its channels are others
        return torch.full_like(left, -1)
    weight = _take_weight(own, theirs, left, entering)
    if weight is None:
        return torch.full_like(left, -1)
    state[layer.weight] = weight
    if layer.norm is not None:
        for name in NORM_TENSORS:
            key = f"{layer.norm}.{name}"
            state[key] = _take_rows(state[key], parent[key], left)
    return left


def _pick_channels(n_channels: int, weight: Tensor, parent: Mapping[str, Tensor], norm: str | None) -> Taken:
    """The parent's most salient channels in their order, then -1 for those that are new."""
    n_theirs = weight.shape[0]
    if n_channels >= n_theirs:
        return torch.cat([torch.arange(n_theirs), torch.full((n_channels - n_theirs,), -1)])
    saliency = weight.flatten(1).abs().sum(dim=1)
    if norm is not None:
        deviation = (parent[f"{norm}.running_var"] + 1e-5).sqrt()
        saliency = saliency * parent[f"{norm}.weight"].abs() / deviation
    return saliency.topk(n_channels).indices.sort().values


def _take_weight(own: Tensor, theirs: Tensor, left: Taken, entering: Taken | None) -> Tensor | None:
    """The child's weight with what fits of the parent's; None where nothing does."""
    if own.dim() == 2 and entering is not None and own.shape[1] != len(entering):  # flattened: (out, channels x length)
        length = own.shape[1] // len(entering)
        if theirs.shape[1] % length:
            return None
        own_3d, theirs_3d = (weight.reshape(weight.shape[0], -1, length) for weight in (own, theirs))
        weight = _take_weight(own_3d, theirs_3d, left, entering)
        return None if weight is None else weight.reshape(own.shape)
    if own.dim() == 3 and own.shape[2] != theirs.shape[2]:
        theirs = _fit_kernel(theirs, own.shape[2])
    rows = left >= 0
    taken = own.clone()
    if entering is None:
        if own.shape[1] != theirs.shape[1] or not rows.any():
            return None
        taken[rows] = theirs[left[rows]]
        return taken
    columns = entering >= 0
    if not (rows.any() and columns.any()) or int(entering.max()) >= theirs.shape[1]:
        return None
    picked = theirs[left[rows]][:, entering[columns]]
    inner = taken[rows]
    inner[:, columns] = picked
    taken[rows] = inner
    return taken


def _fit_kernel(weight: Tensor, kernel_size: int) -> Tensor:
    """(out, in, kernel) cut or padded with zeros on both sides."""
    before = (kernel_size - weight.shape[2]) // 2
    after = kernel_size - weight.shape[2] - before
    return torch.nn.functional.pad(weight, (before, after))


def _take_rows(own: Tensor, theirs: Tensor, left: Taken) -> Tensor:
    rows = left >= 0
    taken = own.clone()
    taken[rows] = theirs[left[rows]]
    return taken
