"""Which weights become zero for good: each kind of pruning as one small function of the layers and an amount.

Each sets weights to zero that stay zero while the network is fine-tuned: they are exact zeros after quantization, too.
Whole channels are removed in `workers/channel_pruning.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from workers.inference_cost import LEAST_KEPT
from workers.model import QuantizedNetwork, iterate_mac_modules, quantized_weight, quantizer_step

Masks = Mapping[str, Tensor]
"""Per MAC layer, True where the weight is kept; layer names as in `iterate_mac_modules`."""

SHORTFALL = 0.003
"""How far below its target a network's cost may end."""

FIRST_STEP = 0.55
"""In steps of a quantizer: a weight that surely quantizes to one step."""


@dataclass(frozen=True)
class PrunableLayer:
    """A MAC layer as pruning sees it; all tensors have the shape of its weights."""

    weight: Tensor
    """Before quantization."""
    is_kept: Tensor
    """False where an earlier pruning removed the weight. No function here brings it back."""
    is_counted: Tensor
    """Whether the weight is non-zero after quantization. Others cost nothing as long as they stay so."""
    marginal_cost: float
    """What one non-zero weight adds to the inference cost."""
    second_moment: Tensor
    """Running mean of the squared gradient, from Adam; ones where it is not known."""


Criterion = Callable[[Sequence[PrunableLayer], float], list[Tensor]]
"""Layers and an amount to the masks of what is kept, one for each layer. What the amount is, each function says."""


def keep_from_epsilon(layers: Sequence[PrunableLayer], epsilon: float) -> list[Tensor]:
    """Keeps |w| >= epsilon, in units of the float weight before quantization (Rosa et al., ITU J-FET)."""
    return [layer.is_kept & (layer.weight.abs() >= epsilon) & (layer.weight != 0) for layer in layers]


def keep_from_relative_epsilon(layers: Sequence[PrunableLayer], epsilon: float) -> list[Tensor]:
    """Keeps |w| >= epsilon times the root mean square of the layer's kept weights."""
    return [layer.is_kept & (layer.weight.abs() >= epsilon * _root_mean_square(layer)) for layer in layers]


def keep_largest(layers: Sequence[PrunableLayer], fraction: float) -> list[Tensor]:
    """Removes the `fraction` of all kept weights with the smallest |w|, rounded."""
    n_kept = sum(int(torch.count_nonzero(layer.is_kept)) for layer in layers)
    costs = [torch.ones_like(layer.weight, dtype=torch.float64) for layer in layers]
    return _keep_best(layers, [layer.weight.abs() for layer in layers], costs, n_kept - round(fraction * n_kept))


def keep_largest_of_each_layer(layers: Sequence[PrunableLayer], fraction: float) -> list[Tensor]:
    """Removes the `fraction` of each layer's kept weights with the smallest |w|, rounded."""
    return [keep_largest([layer], fraction)[0] for layer in layers]


def keep_largest_to_cost(layers: Sequence[PrunableLayer], inference_cost: float) -> list[Tensor]:
    """Keeps the largest |w| of the network up to an inference cost, and `LEAST_KEPT` of each layer.

    Weights that quantize to zero are kept besides: they may grow again in exchange for others.
    """
    return _keep_to_cost(layers, [layer.weight.abs() for layer in layers], inference_cost)


def keep_most_salient_to_cost(layers: Sequence[PrunableLayer], inference_cost: float) -> list[Tensor]:
    """Keeps the weights that do most for their cost up to an inference cost, else as `keep_largest_to_cost`.

    A weight's saliency is w^2 times the mean of its squared gradient: what the loss would change without it, to second
    order. Divided by the marginal cost it says what a unit of cost buys there.
    """
    saliencies = [layer.weight.square() * layer.second_moment / layer.marginal_cost for layer in layers]
    return _keep_to_cost(layers, saliencies, inference_cost)


@dataclass(frozen=True)
class Pruning:
    """One removal of weights."""

    amount: float
    """As the criterion takes it."""
    is_last: bool = False
    """Whether weights that quantize to zero count as well, so that the cost cannot rise above the amount after it."""


class Pruner:
    """Keeps removed weights of one network at zero while it trains, and removes more of them.

    `masks` change in place: a captured step reads them.
    """

    def __init__(
        self,
        model: QuantizedNetwork,
        masks: Masks,
        criterion: Criterion = keep_from_epsilon,
        marginal_costs: Mapping[str, float] | None = None,
    ) -> None:
        """`marginal_costs` is the inference cost of one non-zero weight, per MAC layer, for criteria that ask."""
        self.masks, self._criterion = masks, criterion
        self._modules = [module for name, module in iterate_mac_modules(model)]
        self._masks = [masks[name] for name, _ in iterate_mac_modules(model)]
        self._costs = [marginal_costs[name] if marginal_costs else 0.0 for name, _ in iterate_mac_modules(model)]

    @torch.no_grad()
    def prune(self, pruning: Pruning, optimizer: Optimizer | None = None) -> None:
        """Applies the criterion once. `optimizer` has the second moments of the gradients."""
        moments = _second_moments([module.weight for module in self._modules], optimizer)
        layers = [
            PrunableLayer(
                weight=module.weight,
                is_kept=mask,
                is_counted=mask if pruning.is_last else quantized_weight(module) != 0,
                marginal_cost=cost,
                second_moment=moment,
            )
            for module, mask, cost, moment in zip(self._modules, self._masks, self._costs, moments, strict=True)
        ]
        for layer, kept in zip(layers, self._criterion(layers, pruning.amount), strict=True):
            layer.is_kept.copy_(kept)
        self.apply()

    @torch.no_grad()
    def fill_up(self, inference_cost: float) -> None:
        """Ends a training at a cost target, within `SHORTFALL` from below.

        Weights that came to quantize to zero since the last pruning leave the cost below the target. Those nearest to
        the first step of their quantizer are moved there. Usually there are none to move.
        """
        candidates: list[tuple[float, float, Tensor, int, float]] = []
        cost = 0.0
        for module, mask, price in zip(self._modules, self._masks, self._costs, strict=True):
            codes, step = quantized_weight(module), quantizer_step(module)
            cost += price * int(torch.count_nonzero(codes))
            if not step:
                continue  # a float layer
            weight = module.weight.view(-1)
            for index in torch.nonzero((mask & (codes == 0)).view(-1)).flatten().tolist():
                candidates.append((abs(float(weight[index])) / step, price, weight, index, step))
        for _, price, weight, index, step in sorted(candidates, key=lambda candidate: -candidate[0]):
            if cost >= (1 - SHORTFALL) * inference_cost:
                return
            if cost + price <= inference_cost:
                weight[index] = math.copysign(FIRST_STEP * step, float(weight[index]))
                cost += price

    def restore(self, masks: Masks) -> None:
        """Takes over the masks of an earlier attempt."""
        for name, mask in self.masks.items():
            mask.copy_(masks[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Sets removed weights back to zero. Called after each optimizer step, because momentum moves them."""
        for module, mask in zip(self._modules, self._masks, strict=True):
            module.weight.mul_(mask)


def prune_once(model: QuantizedNetwork, criterion: Criterion, amount: float) -> Pruner:
    """Removes weights of a network that is trained no further, or fine-tuned with the pruner that this returns."""
    pruner = Pruner(model, list_kept(model), criterion)
    pruner.prune(Pruning(amount))
    return pruner


def list_kept(model: QuantizedNetwork) -> Masks:
    """The masks of a network as it is: False where a weight is exactly zero."""
    return {name: module.weight.detach() != 0 for name, module in iterate_mac_modules(model)}


def _keep_to_cost(layers: Sequence[PrunableLayer], scores: Sequence[Tensor], inference_cost: float) -> list[Tensor]:
    for score in scores:
        score.view(-1)[score.flatten().topk(min(LEAST_KEPT, score.numel())).indices] = torch.inf
    return _keep_best(layers, scores, [layer.is_counted * layer.marginal_cost for layer in layers], inference_cost)


def _keep_best(
    layers: Sequence[PrunableLayer], scores: Sequence[Tensor], costs: Sequence[Tensor], budget: float
) -> list[Tensor]:
    """Keeps the best scores until the next does not fit into the budget, then what still fits, costliest first.

    Scores and costs have the shape of the weights; ties are broken by position.
    """
    score = torch.cat([torch.where(la.is_kept, part, -1.0).flatten() for la, part in zip(layers, scores, strict=True)])
    order = score.argsort(descending=True, stable=True)
    cost = torch.cat([part.flatten() for part in costs]).double()[order]
    is_best = cost.cumsum(0) <= budget
    kept = is_best | (cost == 0)
    left = budget - float(cost[is_best].sum())
    for price in sorted(set(cost[~kept].tolist()), reverse=True):
        more = torch.nonzero((cost == price) & ~kept)[: int(left / price)]
        kept[more] = True
        left -= len(more) * price
    masks = torch.empty_like(kept)
    masks[order] = kept
    parts = torch.split(masks, [layer.weight.numel() for layer in layers])
    return [part.view_as(layer.weight) & layer.is_kept for part, layer in zip(parts, layers, strict=True)]


def _root_mean_square(layer: PrunableLayer) -> Tensor:
    n_kept = torch.count_nonzero(layer.is_kept).clamp_min(1)
    return (layer.weight.square().sum() / n_kept).sqrt()


def _second_moments(weights: Sequence[Tensor], optimizer: Optimizer | None) -> list[Tensor]:
    """Those that Adam has; ones for all where one is missing, or is of before channels were removed."""
    state: Mapping[Tensor, Any] = {} if optimizer is None else optimizer.state
    known = [state.get(weight, {}).get("exp_avg_sq") for weight in weights]
    usable = [m for m, weight in zip(known, weights, strict=True) if m is not None and m.shape == weight.shape]
    return usable if len(usable) == len(weights) else [torch.ones_like(weight) for weight in weights]
