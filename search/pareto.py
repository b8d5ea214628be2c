"""Non-dominated points and their hypervolume, for any number of objectives."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from spaces.metrics import Direction

Losses = tuple[float, ...]
"""A point with all objectives minimized."""


def non_dominated(points: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Indices of the non-dominated points, sorted by the second objective from its best value.

    Of equal points the first is kept. Points with NaN are left out.
    """
    losses = {
        index: _losses(point, directions) for index, point in enumerate(points) if not any(map(math.isnan, point))
    }
    # in this order, only a point that comes before another can beat it
    order = sorted(losses, key=lambda i: (losses[i][1], losses[i][0], losses[i][2:], i))
    front: list[int] = []
    for index in order:
        if not any(_is_covered(losses[index], losses[other]) for other in reversed(front)):
            front.append(index)
    return front


def rank_fronts(points: Sequence[tuple[float, float]], directions: Sequence[Direction]) -> list[int]:
    """For each point of two objectives the number of its front: 0 is the front of all, 1 that of the rest, and so on.

    Equal points have the same number (Deb et al. 2002, "NSGA-II"). Takes n log n steps: in the order of the first
    objective a point is beaten by a front exactly where the last one on it is as good in the second.
    """
    losses = [_losses(point, directions) for point in points]
    ranks = [0] * len(points)
    ends: list[float] = []
    before: int | None = None
    for index in sorted(range(len(points)), key=losses.__getitem__):
        if before is not None and losses[before] == losses[index]:
            ranks[index] = ranks[before]
            continue
        ranks[index] = bisect_right(ends, losses[index][1])
        ends[ranks[index] : ranks[index] + 1] = [losses[index][1]]
        before = index
    return ranks


def crowding_distances(points: Sequence[Sequence[float]]) -> list[float]:
    """For each point of one front how far its neighbours are, as a share of the front, summed over the objectives.

    Infinite for the ends (Deb et al. 2002, "NSGA-II").
    """
    distances = [0.0] * len(points)
    for values in zip(*points, strict=True):
        order = sorted(range(len(points)), key=values.__getitem__)
        width = values[order[-1]] - values[order[0]]
        for place, index in enumerate(order):
            if place in (0, len(order) - 1):
                distances[index] = math.inf
            elif width:
                distances[index] += (values[order[place + 1]] - values[order[place - 1]]) / width
    return distances


def hypervolume(
    points: Sequence[Sequence[float]], reference: Sequence[float], directions: Sequence[Direction]
) -> float:
    """Exact volume between the front of `points` and `reference`; higher is better.

    Points that do not beat the reference in all objectives add nothing. By exclusive volumes in slices (While,
    Bradstreet, Barone 2012, "A Fast Way of Calculating Exact Hypervolumes").
    """
    corner = _losses(reference, directions)
    front = [_losses(points[index], directions) for index in non_dominated(points, directions)]
    return _volume([point for point in front if all(map(float.__lt__, point, corner))], corner)


def hypervolume_contributions(
    points: Sequence[Sequence[float]], reference: Sequence[float], directions: Sequence[Direction]
) -> list[float]:
    """For each of `points`, the volume that it alone covers; 0 for dominated and for equal points."""
    before = hypervolume(points, reference, directions)
    front = set(non_dominated(points, directions))
    return [
        before - hypervolume([*points[:index], *points[index + 1 :]], reference, directions) if index in front else 0.0
        for index in range(len(points))
    ]


def _losses(point: Sequence[float], directions: Sequence[Direction]) -> Losses:
    return tuple(
        -float(value) if way == "maximize" else float(value) for value, way in zip(point, directions, strict=True)
    )


def _is_covered(point: Losses, other: Losses) -> bool:
    return all(theirs <= mine for mine, theirs in zip(point, other, strict=True))


def _volume(front: Sequence[Losses], corner: Losses) -> float:
    """Of a front, sorted by the second objective, whose points all beat the corner."""
    if len(corner) == 2:
        return _area(front, corner)
    rest = [_without_second(point) for point in front]
    end = _without_second(corner)
    # what a point covers beyond those before it, which are all as good in the second objective: that is a factor
    return sum(
        (corner[1] - point[1]) * (_box(rest[index], end) - _volume(_limit(rest[:index], rest[index]), end))
        for index, point in enumerate(front)
    )


def _without_second(point: Losses) -> Losses:
    return (point[0], *point[2:])


def _area(front: Sequence[Losses], corner: Losses) -> float:
    ends = [*front[1:], corner]  # each point covers from its own second objective to that of the next
    return sum((end[1] - point[1]) * (corner[0] - point[0]) for point, end in zip(front, ends, strict=False))


def _box(point: Losses, corner: Losses) -> float:
    return math.prod(end - start for start, end in zip(point, corner, strict=True))


def _limit(others: Sequence[Losses], point: Losses) -> list[Losses]:
    """The part of the others' volume that lies in the point's own, as a front."""
    inside = [tuple(map(max, other, point)) for other in others]
    return [inside[index] for index in non_dominated(inside, ["minimize"] * len(point))]
