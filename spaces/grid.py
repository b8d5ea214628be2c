"""All combinations of a study's values, one after another: the sampler `grid`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from spaces.architecture import ArchitectureError
from spaces.distributions import Scalar
from spaces.search_space import SearchSpace

MAX_COMBINATIONS = 1000
"""More are another sampler's work."""


class GridError(ValueError):
    """A space has no grid; the message says what is expected."""


def list_combinations(space: SearchSpace) -> list[Mapping[str, Scalar]]:
    """The values of each combination by their paths, those that are drawn last changing first.

    Raises GridError where a range of floats is drawn, or where there are more than `MAX_COMBINATIONS`.
    """
    combinations: list[Mapping[str, Scalar]] = []
    for combination in _iterate(space):
        combinations.append(combination)
        if len(combinations) > MAX_COMBINATIONS:
            raise GridError(f"a space with at most {MAX_COMBINATIONS} combinations")
    return combinations


def find_grid_problem(space: SearchSpace) -> str | None:
    """What is expected of the study instead; None where its space has a grid."""
    try:
        list_combinations(space)
    except GridError as error:
        return str(error)
    return None


def _iterate(space: SearchSpace) -> Iterator[Mapping[str, Scalar]]:
    trial = _GridTrial()
    while True:
        with suppress(ArchitectureError):  # it is told when the study comes to it
            space.suggest(trial)
        yield {name: options[place] for name, (options, place) in trial.drawn.items()}
        following = _advance(trial.drawn)
        if following is None:
            return
        trial = _GridTrial(following)


def _advance(drawn: Mapping[str, tuple[Sequence[Scalar], int]]) -> dict[str, int] | None:
    """Where the next combination stands: the last value that has another one takes it, those behind it begin anew."""
    places = list(drawn.items())
    while places:
        name, (options, place) = places.pop()
        if place + 1 < len(options):
            return {**{before: at for before, (_, at) in places}, name: place + 1}
    return None


@dataclass
class _GridTrial:
    """Draws the options at given places, and the first of each other value."""

    places: Mapping[str, int] = field(default_factory=dict)
    drawn: dict[str, tuple[Sequence[Scalar], int]] = field(default_factory=dict)
    """Of each value its options, and the place of the one that was drawn."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self._draw(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        value = self._draw(name, range(low, high + 1, step))
        assert isinstance(value, int), "an option of the range"
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        raise GridError(f"choices for {name}, of which a grid has each: a range of floats has no end")

    def _draw(self, name: str, options: Sequence[Scalar]) -> Scalar:
        _, place = self.drawn.setdefault(name, (options, self.places.get(name, 0)))
        return options[place]


@dataclass(frozen=True)
class GivenValues:
    """Draws the values that it is given, by their names; of one combination, say."""

    values: Mapping[str, Scalar]

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Raises KeyError where it has no such value, as the others do."""
        return self.values[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number."""
        value = self.values[name]
        assert isinstance(value, int | float)
        return float(value)
