"""Which trials go on from a rung."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import crowding_distances, rank_fronts
from search.strategy.early_stopping import DIRECTIONS, goes_on, list_rungs
from spaces.study_config import EarlyStoppingPart
from storage.records import RungResult

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


def result(accuracy: float, inference_cost: float) -> RungResult:
    return RungResult("a study", 0, 0, 4, accuracy, inference_cost)


def is_beaten(point: tuple[float, float], by: tuple[float, float]) -> bool:
    return by[0] >= point[0] and by[1] <= point[1] and by != point


@given(POINTS)
def test_trial_that_nobody_beats_at_its_rung_is_never_stopped(points: list[tuple[int, int]]) -> None:
    own, *others = points
    if not any(is_beaten(own, other) for other in others):
        assert goes_on(result(*own), [result(*other) for other in others], kept=0.01)


@given(POINTS, st.floats(0.05, 0.95))
def test_trial_goes_on_exactly_where_fewer_are_better_than_are_kept(points: list[tuple[int, int]], kept: float) -> None:
    own, *others = [result(*point) for point in points]
    ranks = rank_fronts(points, DIRECTIONS)
    n_surely_better = sum(rank < ranks[0] for rank in ranks)
    n_as_good = sum(rank == ranks[0] for rank in ranks)
    if ranks[0] > 0:
        if goes_on(own, others, kept):
            assert n_surely_better < kept * len(points) + 1
        else:
            assert n_surely_better + n_as_good > kept * len(points)


@given(POINTS)
def test_fronts_are_peeled_off_one_after_another(points: list[tuple[int, int]]) -> None:
    ranks = rank_fronts(points, DIRECTIONS)
    left, rank = set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(is_beaten(points[i], points[j]) for j in left)}
        assert {i for i in left if ranks[i] == rank} == front
        left, rank = left - front, rank + 1


def test_of_one_front_the_ends_and_then_the_loneliest_are_best() -> None:
    assert crowding_distances([(0.1, 1.0), (0.2, 2.0), (0.9, 9.0), (1.0, 10.0)]) == [
        float("inf"),
        pytest.approx(0.8 / 0.9 + 8 / 9),
        pytest.approx(0.8 / 0.9 + 8 / 9),
        float("inf"),
    ]


def test_half_of_the_trials_goes_on_where_each_is_better_than_the_last() -> None:
    others: list[RungResult] = []
    gone_on = 0
    generator = random.Random(3)
    for _ in range(400):
        own = result(generator.random(), 0.01)  # of one cost: accuracy alone decides
        gone_on += goes_on(own, others, kept=0.5)
        others.append(own)
    assert 190 < gone_on < 230


@pytest.mark.parametrize(
    ("n_epochs", "first_rung", "kept", "expected"),
    [
        (11, 1 / 3, 0.5, (4, 7)),
        (100, 0.1, 0.5, (10, 20, 40, 80)),
        (27, 1 / 9, 1 / 3, (3, 9)),
        (2, 0.1, 0.5, (1,)),
        (1, 0.3, 0.5, ()),
    ],
)
def test_rungs_are_epochs_of_the_whole_trial(
    n_epochs: int, first_rung: float, kept: float, expected: tuple[int, ...]
) -> None:
    assert list_rungs(n_epochs, EarlyStoppingPart(first_rung=first_rung, kept=kept)) == expected
