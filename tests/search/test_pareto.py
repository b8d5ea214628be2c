import itertools
import math
import random

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from search.pareto import hypervolume, hypervolume_contributions, non_dominated
from spaces.metrics import Direction

CORNER = (0.0, 1.0)
"""Accuracy and inference cost from which a point adds to the hypervolume."""

DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")


def random_points(seed: int, n_points: int = 40) -> list[tuple[float, float]]:
    generator = random.Random(seed)
    return [(generator.uniform(0.0, 0.8), generator.uniform(0.0, 1.3)) for _ in range(n_points)]


def is_beaten(point: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    return any(other[0] >= point[0] and other[1] <= point[1] and other != point for other in points)


def test_front_is_ordered_from_cheap_to_accurate() -> None:
    points = [(0.60, 0.5), (0.50, 0.1), (0.55, 0.6), (0.62, 0.9)]
    assert non_dominated(points, DIRECTIONS) == [1, 0, 3]


def test_of_equal_points_the_first_is_on_the_front() -> None:
    assert non_dominated([(0.5, 0.2), (0.6, 0.3), (0.6, 0.3)], DIRECTIONS) == [0, 1]


def test_equal_accuracy_at_a_higher_cost_is_dominated() -> None:
    assert non_dominated([(0.5, 0.3), (0.5, 0.2)], DIRECTIONS) == [1]


def test_nan_is_never_on_the_front() -> None:
    assert non_dominated([(math.nan, 0.1), (0.5, math.nan), (0.4, 0.2)], DIRECTIONS) == [2]


def test_no_points_cover_nothing() -> None:
    assert non_dominated([], DIRECTIONS) == []
    assert hypervolume([], CORNER, DIRECTIONS) == 0.0
    assert hypervolume_contributions([], CORNER, DIRECTIONS) == []


@pytest.mark.parametrize("seed", range(5))
def test_front_is_what_pairwise_comparison_leaves(seed: int) -> None:
    points = random_points(seed)
    front = non_dominated(points, DIRECTIONS)
    assert sorted(front) == [i for i, point in enumerate(points) if not is_beaten(point, points)]


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_the_one_of_optuna(seed: int) -> None:
    points = random_points(seed)
    losses = np.array([(-accuracy, cost) for accuracy, cost in points])
    inside = losses[(losses[:, 0] <= 0) & (losses[:, 1] <= CORNER[1])]
    expected = compute_hypervolume(inside, np.array([0.0, CORNER[1]]))
    assert hypervolume(points, CORNER, DIRECTIONS) == pytest.approx(expected, rel=1e-12)


def test_hypervolume_of_two_points_by_hand() -> None:
    assert hypervolume([(0.5, 0.2), (0.6, 0.7)], CORNER, DIRECTIONS) == pytest.approx(0.5 * 0.5 + 0.3 * 0.6)


def test_points_behind_the_reference_add_nothing() -> None:
    assert hypervolume([(0.5, 0.2), (0.9, 1.5), (-0.1, 0.0)], CORNER, DIRECTIONS) == pytest.approx(0.8 * 0.5)


def test_contribution_is_the_area_lost_without_the_point() -> None:
    points = [(0.5, 0.2), (0.6, 0.7), (0.4, 0.3)]
    assert hypervolume_contributions(points, CORNER, DIRECTIONS) == pytest.approx(
        [0.5 * 0.5 - 0.4 * 0.4, 0.3 * 0.1, 0.0]
    )


def test_equal_points_contribute_nothing_alone() -> None:
    assert hypervolume_contributions([(0.5, 0.2), (0.5, 0.2)], CORNER, DIRECTIONS) == [0.0, 0.0]


WAYS: tuple[Direction, ...] = ("maximize", "minimize", "minimize", "maximize")
"""Of up to four objectives."""

GRID = 6


def grid_points(seed: int, n_objectives: int, n_points: int) -> list[tuple[int, ...]]:
    """Points of whole numbers from 0 to GRID; many are equal in an objective, and some in all."""
    generator = random.Random(seed)
    return [tuple(generator.randint(0, GRID) for _ in range(n_objectives)) for _ in range(n_points)]


def corner(n_objectives: int) -> tuple[int, ...]:
    return tuple(0 if way == "maximize" else GRID for way in WAYS[:n_objectives])


def is_as_good(point: tuple[int, ...], other: tuple[int, ...]) -> bool:
    pairs = zip(point, other, WAYS, strict=False)
    return all(mine >= theirs if way == "maximize" else mine <= theirs for mine, theirs, way in pairs)


def count_cells(points: list[tuple[int, ...]], n_objectives: int) -> int:
    """Unit cells of the grid that some point covers: the volume, counted."""
    cells = itertools.product(range(GRID), repeat=n_objectives)
    # a point covers a cell when it is as good as the cell's best corner
    best = (
        tuple(low + 1 if way == "maximize" else low for low, way in zip(cell, WAYS, strict=False)) for cell in cells
    )
    return sum(any(is_as_good(point, cell) for point in points) for cell in best)


@pytest.mark.parametrize(("n_objectives", "seed"), list(itertools.product((2, 3, 4), range(6))))
def test_volume_is_what_counting_cells_gives(n_objectives: int, seed: int) -> None:
    points = grid_points(seed, n_objectives, n_points=12)
    volume = hypervolume(points, corner(n_objectives), WAYS[:n_objectives])
    assert volume == count_cells(points, n_objectives)


@pytest.mark.parametrize(("n_objectives", "seed"), list(itertools.product((2, 3, 4), range(4))))
def test_contributions_are_the_cells_that_one_point_alone_covers(n_objectives: int, seed: int) -> None:
    points = grid_points(seed, n_objectives, n_points=9)
    contributions = hypervolume_contributions(points, corner(n_objectives), WAYS[:n_objectives])
    everything = count_cells(points, n_objectives)
    without = [count_cells(points[:i] + points[i + 1 :], n_objectives) for i in range(len(points))]
    assert contributions == [everything - rest for rest in without]


@pytest.mark.parametrize(("n_objectives", "seed"), list(itertools.product((2, 3, 4), range(4))))
def test_front_of_several_objectives_is_what_pairwise_comparison_leaves(n_objectives: int, seed: int) -> None:
    points = grid_points(seed, n_objectives, n_points=40)
    front = non_dominated(points, WAYS[:n_objectives])
    assert front
    left = {point for point in points if not any(other != point and is_as_good(other, point) for other in points)}
    assert {points[index] for index in front} == left
    assert len(front) == len(left)
    assert [points[index][1] for index in front] == sorted(points[index][1] for index in front)


@pytest.mark.parametrize("seed", range(3))
def test_volume_of_four_objectives_equals_the_one_of_optuna(seed: int) -> None:
    generator = random.Random(seed)
    points = [tuple(generator.random() for _ in range(4)) for _ in range(25)]
    expected = compute_hypervolume(np.array(points), np.ones(4))
    assert hypervolume(points, (1.0,) * 4, ["minimize"] * 4) == pytest.approx(expected, rel=1e-12)


def test_front_is_sorted_by_the_second_objective_from_its_best() -> None:
    points = [(0.5, 100.0), (0.4, 300.0), (0.6, 50.0)]
    assert non_dominated(points, ("maximize", "maximize")) == [1, 0, 2]


def test_volume_of_a_large_front_of_six_objectives_equals_the_one_of_optuna() -> None:
    generator = random.Random(1)
    vectors = [[abs(generator.gauss(0, 1)) for _ in range(6)] for _ in range(60)]
    front = [[1 - value / math.hypot(*vector) for value in vector] for vector in vectors]  # on a sphere: none beats one
    expected = compute_hypervolume(np.array(front), np.ones(6))
    assert hypervolume(front, [1.0] * 6, ["minimize"] * 6) == pytest.approx(expected, rel=1e-12)
