"""What a search expects of designs that are not trained: accuracies from those that are, and what a design would add.

Cost is known before training: exactly for a dense network, and by its target for a pruned one. Accuracy is learned from
all points of all trials by Gaussian process regression on the values of the design and the logarithm of the cost.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

Params = Mapping[str, object]

QUANTILES = (-1.53, -0.89, -0.49, -0.16, 0.16, 0.49, 0.89, 1.53)
"""Means of eight equally likely parts of the standard normal distribution."""


class Encoder:
    """Turns a design's values into numbers from 0 to 1; a value that a design does not have is the middle."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = dict(distributions)

    def encode(self, params: Params) -> NDArray[np.float64]:
        """One row: a number for each range and each choice among numbers, and one for each other choice."""
        numbers = [
            number for name, dist in self._distributions.items() for number in _encode_value(dist, params.get(name))
        ]
        return np.array(numbers)


def _encode_value(distribution: BaseDistribution, value: object) -> list[float]:
    match distribution:
        case CategoricalDistribution(choices=choices):
            if all(isinstance(one, int | float) and not isinstance(one, bool) for one in choices):
                order = sorted(choices)  # type: ignore[type-var]
                return [0.5 if value is None else order.index(value) / max(len(order) - 1, 1)]  # type: ignore[arg-type]
            return [float(value == one) for one in choices]
        case IntDistribution(low=low, high=high, log=log) | FloatDistribution(low=low, high=high, log=log):
            if value is None:
                return [0.5]
            assert isinstance(value, int | float)
            if log:
                return [math.log(value / low) / max(math.log(high / low), 1e-12)]
            return [(value - low) / max(high - low, 1e-12)]
    raise TypeError(f"{type(distribution).__name__} is no distribution of Optuna's that a study draws from")


@dataclass(frozen=True)
class Point:
    """A measured network: its design as numbers, its cost and its accuracy."""

    design: NDArray[np.float64]
    inference_cost: float
    accuracy: float


class AccuracyModel:
    """Gaussian process regression of accuracy on design and cost."""

    def __init__(self, points: Sequence[Point], seed: int) -> None:
        """Fits to the points, of which there is at least one."""
        rows = np.array([_row(point.design, point.inference_cost) for point in points])
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.ones(rows.shape[1]), (1e-1, 1e2), nu=2.5) + WhiteKernel(
            1e-2, (1e-4, 1.0)
        )
        self._model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a value that has no effect
            self._model.fit(rows, np.array([point.accuracy for point in points]))

    def predict(
        self, designs: Sequence[NDArray[np.float64]], costs: Sequence[Sequence[float]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the accuracy of each design at each of its costs: (designs, costs) each."""
        rows = [_row(design, cost) for design, several in zip(designs, costs, strict=True) for cost in several]
        mean, deviation = self._model.predict(np.array(rows), return_std=True)
        shape = len(designs), len(costs[0])
        return mean.reshape(shape), deviation.reshape(shape)


def _row(design: NDArray[np.float64], inference_cost: float) -> NDArray[np.float64]:
    return np.append(design, math.log10(inference_cost))


def expect_gains(
    model: AccuracyModel,
    designs: Sequence[NDArray[np.float64]],
    costs: Sequence[Sequence[float]],
    front: Sequence[tuple[float, float]],
    reference: tuple[float, float],
) -> NDArray[np.float64]:
    """The hypervolume that each design is expected to add to the front with all its points, (designs,).

    `front` and `reference` are accuracies and inference costs; the volume is in accuracy times log10 of the cost. The
    accuracies of one design are taken to err together.
    """
    mean, deviation = model.predict(designs, costs)
    shifts = np.array(QUANTILES)[None, :, None]
    accuracies = mean[:, None, :] + shifts * deviation[:, None, :]  # (designs, quantiles, costs)
    volumes: NDArray[np.float64] = _volumes(accuracies, np.array(costs), front, reference).mean(axis=1)
    return volumes - _volume_of(front, reference)


def _volume_of(front: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    none = np.full((1, 1, 1), reference[0]), np.full((1, 1), reference[1])
    return float(_volumes(*none, front, reference)[0, 0])


def _volumes(
    accuracies: NDArray[np.float64],
    costs: NDArray[np.float64],
    front: Sequence[tuple[float, float]],
    reference: tuple[float, float],
) -> NDArray[np.float64]:
    """Of the front with the points of each design, (designs, quantiles)."""
    n_designs, n_quantiles, _ = accuracies.shape
    known = np.array(front).reshape(-1, 2)
    at = np.concatenate([np.log10(costs), np.broadcast_to(np.log10(known[:, 1]), (n_designs, len(known)))], axis=1)
    height = np.concatenate([accuracies, np.broadcast_to(known[:, 0], (n_designs, n_quantiles, len(known)))], axis=2)
    at = np.minimum(at, math.log10(reference[1]))
    order = np.argsort(at, axis=1, kind="stable")
    at = np.take_along_axis(at, order, axis=1)
    height = np.take_along_axis(height, np.broadcast_to(order[:, None, :], height.shape), axis=2)
    best = np.maximum(np.maximum.accumulate(height, axis=2) - reference[0], 0.0)
    widths = np.diff(np.concatenate([at, np.full((n_designs, 1), math.log10(reference[1]))], axis=1), axis=1)
    volumes: NDArray[np.float64] = (best * widths[:, None, :]).sum(axis=2)
    return volumes
