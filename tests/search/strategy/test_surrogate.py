"""What a search expects of designs that are not trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.pareto import hypervolume
from search.strategy.surrogate import AccuracyModel, Encoder, Point, expect_gains

REFERENCE = (0.04, 0.1)


def accuracy_of(x: float, cost: float) -> float:
    return 0.3 + 0.1 * math.sin(3 * x) + 0.05 * math.log10(cost / 0.01)


def fitted_model() -> AccuracyModel:
    grid = np.linspace(0, 1, 9)
    points = [Point(np.array([x]), cost, accuracy_of(x, cost)) for x in grid for cost in (0.003, 0.01, 0.03)]
    return AccuracyModel(points, seed=1)


def test_values_become_numbers_from_0_to_1() -> None:
    encoder = Encoder(
        {
            "channels": IntDistribution(16, 48, step=8),
            "cost": FloatDistribution(0.001, 0.1, log=True),
            "kernel": CategoricalDistribution((9, 3, 5)),
            "kind": CategoricalDistribution(("plain", "residual")),
        }
    )
    assert encoder.encode({"channels": 24, "cost": 0.01, "kernel": 5, "kind": "residual"}).tolist() == pytest.approx(
        [0.25, 0.5, 0.5, 0.0, 1.0]
    )
    assert encoder.encode({}).tolist() == [0.5, 0.5, 0.5, 0.0, 0.0]


def test_accuracy_between_known_designs_is_learned() -> None:
    model = fitted_model()
    mean, deviation = model.predict([np.array([0.31]), np.array([0.94])], [(0.005, 0.02), (0.005, 0.02)])
    for row, x in enumerate((0.31, 0.94)):
        for column, cost in enumerate((0.005, 0.02)):
            assert mean[row, column] == pytest.approx(accuracy_of(x, cost), abs=0.003)
    assert (deviation < 0.01).all()


def test_gain_is_the_volume_that_the_points_add_to_the_front() -> None:
    """With a model that is sure of itself, this is the difference of two hypervolumes."""
    front = [(0.30, 0.01), (0.35, 0.03)]
    costs = (0.005, 0.02)
    gain = expect_gains(fitted_model(), [np.array([0.5])], [costs], front, REFERENCE)[0]

    def volume(points: list[tuple[float, float]]) -> float:
        scaled = [(accuracy, math.log10(cost)) for accuracy, cost in points]
        return hypervolume(scaled, (REFERENCE[0], math.log10(REFERENCE[1])), ("maximize", "minimize"))

    added = [(accuracy_of(0.5, cost), cost) for cost in costs]
    assert gain == pytest.approx(volume(front + added) - volume(front), abs=2e-3)
    assert gain > 0.05


def test_design_whose_points_are_surely_dominated_adds_nothing() -> None:
    front = [(0.9, 0.002)]
    gains = expect_gains(fitted_model(), [np.array([0.5]), np.array([0.1])], [(0.005, 0.02)] * 2, front, REFERENCE)
    assert gains.tolist() == pytest.approx([0, 0], abs=1e-9)


def test_cost_above_the_reference_adds_nothing() -> None:
    gains = expect_gains(fitted_model(), [np.array([0.5])], [(0.2, 0.5)], [], REFERENCE)
    assert gains.tolist() == pytest.approx([0], abs=1e-9)
