import math
import random

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from search.pareto import REFERENCE_POINT, hypervolume, hypervolume_contributions, non_dominated


def random_points(seed: int, n_points: int = 40) -> list[tuple[float, float]]:
    generator = random.Random(seed)
    return [(generator.uniform(0.0, 0.8), generator.uniform(0.0, 1.3)) for _ in range(n_points)]


def is_beaten(point: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    return any(other[0] >= point[0] and other[1] <= point[1] and other != point for other in points)


def test_front_is_ordered_from_cheap_to_accurate() -> None:
    points = [(0.60, 0.5), (0.50, 0.1), (0.55, 0.6), (0.62, 0.9)]
    assert non_dominated(points) == [1, 0, 3]


def test_of_equal_points_the_first_is_on_the_front() -> None:
    assert non_dominated([(0.5, 0.2), (0.6, 0.3), (0.6, 0.3)]) == [0, 1]


def test_equal_accuracy_at_a_higher_cost_is_dominated() -> None:
    assert non_dominated([(0.5, 0.3), (0.5, 0.2)]) == [1]


def test_nan_is_never_on_the_front() -> None:
    assert non_dominated([(math.nan, 0.1), (0.5, math.nan), (0.4, 0.2)]) == [2]


def test_no_points_cover_nothing() -> None:
    assert non_dominated([]) == []
    assert hypervolume([]) == 0.0
    assert hypervolume_contributions([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_front_is_what_pairwise_comparison_leaves(seed: int) -> None:
    points = random_points(seed)
    assert sorted(non_dominated(points)) == [i for i, point in enumerate(points) if not is_beaten(point, points)]


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_the_one_of_optuna(seed: int) -> None:
    points = random_points(seed)
    losses = np.array([(-accuracy, cost) for accuracy, cost in points])
    inside = losses[(losses[:, 0] <= 0) & (losses[:, 1] <= REFERENCE_POINT.inference_cost)]
    expected = compute_hypervolume(inside, np.array([0.0, REFERENCE_POINT.inference_cost]))
    assert hypervolume(points) == pytest.approx(expected, rel=1e-12)


def test_hypervolume_of_two_points_by_hand() -> None:
    assert hypervolume([(0.5, 0.2), (0.6, 0.7)]) == pytest.approx(0.5 * 0.5 + 0.3 * 0.6)


def test_points_behind_the_reference_add_nothing() -> None:
    assert hypervolume([(0.5, 0.2), (0.9, 1.5), (-0.1, 0.0)]) == pytest.approx(0.8 * 0.5)


def test_contribution_is_the_area_lost_without_the_point() -> None:
    points = [(0.5, 0.2), (0.6, 0.7), (0.4, 0.3)]
    assert hypervolume_contributions(points) == pytest.approx([0.5 * 0.5 - 0.4 * 0.4, 0.3 * 0.1, 0.0])


def test_equal_points_contribute_nothing_alone() -> None:
    assert hypervolume_contributions([(0.5, 0.2), (0.5, 0.2)]) == [0.0, 0.0]
