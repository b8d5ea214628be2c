"""Where a network's inference cost sits: each layer's share."""

from __future__ import annotations

from dataclasses import dataclass

from search.measured_trials import MeasuredPoint
from workers.inference_cost import count_layer_costs, list_mac_layers, score_inference_cost


@dataclass(frozen=True)
class LayerShare:
    """One layer with weights."""

    name: str
    macs: int
    """Multiply-accumulates of one frame, zeros included."""
    weight_bits_each: int
    activation_bits: int
    """Of what enters."""
    density: float
    """Share of its weights that are not zero."""
    bit_ops: float
    weight_bits: float
    share: float
    """Of the network's inference cost, 0 to 1."""


def list_layer_shares(point: MeasuredPoint) -> list[LayerShare]:
    """All layers, in order."""
    architecture, density = point.architecture, point.evaluation.density
    costs = count_layer_costs(architecture, density)
    scores = [score_inference_cost(cost.bit_ops, cost.weight_bits) for cost in costs]
    total = sum(scores)
    return [
        LayerShare(
            layer.name,
            layer.macs,
            layer.weight_bit_width,
            layer.activation_bit_width,
            density.get(layer.name, 1.0),
            cost.bit_ops,
            cost.weight_bits,
            score / total if total else 0.0,
        )
        for layer, cost, score in zip(list_mac_layers(architecture), costs, scores, strict=True)
    ]
