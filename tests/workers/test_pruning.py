from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from workers.inference_cost import LEAST_KEPT
from workers.pruning import (
    Criterion,
    PrunableLayer,
    keep_from_epsilon,
    keep_from_relative_epsilon,
    keep_largest,
    keep_largest_of_each_layer,
    keep_largest_to_cost,
    keep_most_salient_to_cost,
)


def layer(
    weights: Sequence[float],
    marginal_cost: float = 1.0,
    removed: Sequence[int] = (),
    rounded: Sequence[int] = (),
    moments: Sequence[float] | None = None,
) -> PrunableLayer:
    """`removed` were pruned before; `rounded` quantize to zero."""
    weight = torch.tensor(weights, dtype=torch.float32)
    kept, counted = torch.ones(len(weight), dtype=torch.bool), weight != 0
    kept[list(removed)] = False
    counted[[*removed, *rounded]] = False
    moment = torch.ones_like(weight) if moments is None else torch.tensor(moments)
    return PrunableLayer(weight * kept, kept, counted, marginal_cost, moment)


def kept_by(criterion: Criterion, layers: Sequence[PrunableLayer], amount: float) -> list[list[int]]:
    """Positions of the kept weights, per layer."""
    return [positions(mask) for mask in criterion(layers, amount)]


def positions(mask: Tensor) -> list[int]:
    found: list[int] = torch.nonzero(mask).flatten().tolist()
    return found


def test_epsilon_is_in_units_of_the_weights_or_of_their_root_mean_square() -> None:
    layers = [layer([0.1, -0.2, 0.3]), layer([1.0, -2.0, 3.0], removed=[2])]
    assert kept_by(keep_from_epsilon, layers, 0.2) == [[1, 2], [0, 1]]
    rms = (5 / 2) ** 0.5  # of the weights that are kept
    assert kept_by(keep_from_relative_epsilon, layers, 1.01 / rms) == [[1, 2], [1]]


def test_fraction_is_of_the_weights_that_are_left_in_the_network_or_in_each_layer() -> None:
    layers = [layer([1, 2, 3, 4]), layer([10, 20, 30, 40, 50, 0.5], removed=[5, 4])]
    assert kept_by(keep_largest, layers, 0.5) == [[], [0, 1, 2, 3]]
    assert kept_by(keep_largest_of_each_layer, layers, 0.5) == [[2, 3], [2, 3]]
    assert kept_by(keep_largest, layers, 0.0) == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_removed_weights_never_come_back() -> None:
    layers = [layer(range(1, 11), removed=[9])]
    for criterion, amount in ((keep_from_epsilon, 0.0), (keep_largest, 0.1), (keep_largest_to_cost, 100.0)):
        (mask,) = criterion(layers, amount)
        assert not mask[9]


def test_cost_is_filled_up_to_the_target_with_what_still_fits() -> None:
    dear, cheap = layer([9, 8, 7, 6, 5, 4], marginal_cost=3.0), layer([3, 2, 1, 0.9, 0.8, 0.7], marginal_cost=1.0)
    # the four best of each layer cost 16; then one of 3 does not fit any more, and one of 1 does
    masks = keep_largest_to_cost([dear, cheap], 17.5)
    assert [positions(mask) for mask in masks] == [[0, 1, 2, 3], [0, 1, 2, 3, 4]]
    masks = keep_largest_to_cost([dear, cheap], 19.5)
    assert [positions(mask) for mask in masks] == [[0, 1, 2, 3, 4], [0, 1, 2, 3]]


def test_weights_that_quantize_to_zero_cost_nothing_and_are_kept() -> None:
    weights = [9, 8, 7, 6, 5, 0.2, 0.1]
    (mask,) = keep_largest_to_cost([layer(weights, rounded=[5, 6])], 4.0)
    assert positions(mask) == [0, 1, 2, 3, 5, 6]


def test_each_layer_keeps_some_weights() -> None:
    tiny, large = layer([0.01] * 10), layer([5.0] * 10)
    masks = keep_largest_to_cost([tiny, large], 9.0)
    assert [len(positions(mask)) for mask in masks] == [LEAST_KEPT, 5]


def test_saliency_is_the_square_of_the_weight_times_its_gradients_for_each_unit_of_cost() -> None:
    moments = [1.0, 1.0, 1.0, 1.0, 100.0, 1.0]
    alike = layer([4, 4, 4, 4, 1, 3], moments=moments)
    (mask,) = keep_most_salient_to_cost([alike], 5.0)
    assert positions(mask) == [0, 1, 2, 3, 4], "1^2 * 100 is more than 3^2"
    (mask,) = keep_largest_to_cost([alike], 5.0)
    assert positions(mask) == [0, 1, 2, 3, 5]
    dear, cheap = layer([4, 4, 4, 4, 3.9], marginal_cost=10.0), layer([4, 4, 4, 4, 2.0], marginal_cost=1.0)
    masks = keep_most_salient_to_cost([dear, cheap], 54.0)
    assert [positions(mask) for mask in masks] == [[0, 1, 2, 3], [0, 1, 2, 3, 4]], "4 / 1 is more than 15.2 / 10"


@pytest.mark.parametrize("criterion", [keep_largest_to_cost, keep_most_salient_to_cost])
@pytest.mark.parametrize("target", [3.0, 40.0, 123.4, 1e9])
def test_cost_never_exceeds_the_target_but_for_the_least_of_each_layer(criterion: Criterion, target: float) -> None:
    generator = torch.Generator().manual_seed(1)
    layers = [
        layer(torch.randn(n, generator=generator).tolist(), marginal_cost=cost)
        for n, cost in ((50, 0.7), (200, 0.13), (7, 4.1), (90, 0.5))
    ]
    masks = criterion(layers, target)
    cost = sum(len(positions(mask)) * la.marginal_cost for mask, la in zip(masks, layers, strict=True))
    total = sum(len(la.weight) * la.marginal_cost for la in layers)
    assert cost <= target
    if target > sum(LEAST_KEPT * la.marginal_cost for la in layers):
        assert cost >= min(target - 0.13, total - 1e-9)
