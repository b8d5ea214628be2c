"""Which points no other point beats, and how much of the objective plane they cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """The two objectives of one network."""

    accuracy: float
    """Higher is better."""
    inference_cost: float
    """Lower is better."""


REFERENCE_POINT = Point(accuracy=0.0, inference_cost=1.0)
"""Corner from which the hypervolume is measured: nothing classified rightly, at the cost of the 8-bit VGG10."""


def non_dominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats or equals in both objectives, from cheap to accurate.

    Of equal points the first is kept. Points with NaN are left out.
    """
    order = sorted(
        (i for i, point in enumerate(points) if not any(map(math.isnan, point))),
        key=lambda i: (points[i][1], -points[i][0], i),
    )
    front: list[int] = []
    best_accuracy = -math.inf
    for index in order:
        if points[index][0] > best_accuracy:
            front.append(index)
            best_accuracy = points[index][0]
    return front


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float] = REFERENCE_POINT) -> float:
    """Area between the front of `points` and `reference`; higher is better.

    At most 1 for the default reference. Points that do not beat the reference in both objectives add nothing.
    """
    front = _front_before_reference(points, reference)
    ends = [*front[1:], reference]  # each point covers from its own cost to that of the next
    return sum((end[1] - cost) * (accuracy - reference[0]) for (accuracy, cost), end in zip(front, ends, strict=False))


def hypervolume_contributions(
    points: Sequence[tuple[float, float]], reference: tuple[float, float] = REFERENCE_POINT
) -> list[float]:
    """Area that only this point covers, for each of `points`; 0 for dominated and for equal points."""
    before = hypervolume(points, reference)
    front = set(non_dominated(points))
    return [
        before - hypervolume([*points[:index], *points[index + 1 :]], reference) if index in front else 0.0
        for index in range(len(points))
    ]


def _front_before_reference(
    points: Sequence[tuple[float, float]], reference: tuple[float, float]
) -> list[tuple[float, float]]:
    front = [points[index] for index in non_dominated(points)]
    return [point for point in front if point[0] > reference[0] and point[1] < reference[1]]
