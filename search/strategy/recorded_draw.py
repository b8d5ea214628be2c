"""One draw of a study's space outside of Optuna: its values, their distributions, and what came from a parent."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.distributions import Scalar


@dataclass
class RecordedDraw:
    """Draws values at random, or those of a parent where the space has them."""

    generator: random.Random
    parent: Mapping[str, object] = field(default_factory=dict)
    mutation_rate: float = 0.0
    """How likely a value is drawn although the parent has one."""
    params: dict[str, Scalar] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    """Names of the values that are the parent's."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """One of the choices."""
        return self._note(name, CategoricalDistribution(tuple(choices)), self.generator.choice(list(choices)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number from low to high."""
        drawn = self._note(name, IntDistribution(low, high, step=step), self.generator.randrange(low, high + 1, step))
        assert isinstance(drawn, int)
        return drawn

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from low to high."""
        uniform = self.generator.random()
        drawn = low * (high / low) ** uniform if log else low + (high - low) * uniform
        noted = self._note(name, FloatDistribution(low, high, log=log), min(max(drawn, low), high))
        assert isinstance(noted, int | float)
        return float(noted)

    def _note(self, name: str, distribution: BaseDistribution, drawn: Scalar) -> Scalar:
        before = self.parent.get(name)
        if _is_scalar(before) and self.generator.random() >= self.mutation_rate and _contains(distribution, before):
            drawn = before
            self.kept.add(name)
        self.params[name], self.distributions[name] = drawn, distribution
        return drawn


def _is_scalar(value: object) -> TypeGuard[Scalar]:
    return value is not None and isinstance(value, bool | int | float | str)


def _contains(distribution: BaseDistribution, value: Scalar) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return isinstance(value, int | float) and not isinstance(value, bool) and distribution._contains(float(value))
