"""Staged campaigns: a study that draws some values first, takes the best network, then draws the next ones for it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator
from pydantic_core import to_jsonable_python

from spaces.architecture import ArchitectureError
from spaces.block_space import draw_blocks, list_range_fields
from spaces.distributions import Scalar
from spaces.problems import InvalidValueError, Problem, format_value
from spaces.search_space import Part, SearchSpace

PRUNING = "pruning"
"""What a stage draws where it is one round of pruning: the next of `pruning.stages`."""


def _check_stage_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}", name):
        raise ValueError("expected 1 to 40 letters, digits, spaces, _ . or -, a letter or digit first")
    return name


def _parse_draws(value: object) -> tuple[str, ...] | str:
    if value in (PRUNING, [PRUNING]):
        return PRUNING
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise InvalidValueError(
            [Problem((), format_value(value), "a list of fields such as [kernel_size], or pruning")]
        )
    return tuple(value)


class SelectPart(Part):
    """Which network a stage hands to the next one."""

    accuracy_at_least: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Only networks from this accuracy on; where none has it, the most accurate one. Empty: all."""
    best: Literal["balance", "accuracy", "inference_cost"] = "balance"
    """balance: the largest product of accuracy above a guess and orders of magnitude below twice the highest cost."""


class CampaignStagePart(Part):
    """One stage: so many trials, which differ in the values that it draws."""

    name: Annotated[str, AfterValidator(_check_stage_name)]
    draws: Annotated[
        tuple[str, ...] | Literal["pruning"], PlainValidator(_parse_draws), PlainSerializer(to_jsonable_python)
    ]
    """Names of fields such as kernel_size, each wherever the space has a range for it; or pruning."""
    trials: Annotated[int, Field(ge=1)]
    select: SelectPart = SelectPart()

    @property
    def prunes(self) -> bool:
        """Whether it is one round of pruning."""
        return self.draws == PRUNING


def find_field(path: str) -> str:
    """The name of the field in a value's path: kernel_size of `space.blocks[1].kernel_size`."""
    return path.rpartition(".")[2]


def count_rounds(stages: Sequence[CampaignStagePart], index: int) -> int:
    """Rounds of pruning up to and with this stage."""
    return sum(stage.prunes for stage in stages[: index + 1])


def list_largest(space: SearchSpace) -> dict[str, Scalar]:
    """The largest value of each range outside of `pruning`, by path; of choices that are not all numbers, the last.

    Fields that no stage has drawn yet have them.
    """
    trial = _LargestTrial()
    draw_blocks(space.space.blocks, trial, "space.blocks")
    space.suggest_training(trial)
    return trial.values


def find_stage_problems(stages: Sequence[CampaignStagePart], space: SearchSpace, n_trials: int) -> Iterator[Problem]:
    """What is wrong with the stages of a study, with paths from the study file's root."""
    of_blocks = list_range_fields(space.space.blocks)
    ranges = dict.fromkeys([*(find_field(path) for path in list_largest(space)), *of_blocks])
    drawn: dict[str, int] = {}
    for index, stage in enumerate(stages):
        for number, name in enumerate(() if stage.prunes else stage.draws):
            place = ("stages", index, "draws", number)
            if name not in ranges:
                expected = f"pruning, or a field that is a range in this study: {', '.join(ranges) or 'none is'}"
                yield Problem(place, name, expected)
            elif name in drawn:
                where = "here" if drawn[name] == index else f"in stages[{drawn[name]}]"
                yield Problem(place, name, f"each field once; it is drawn {where} already")
            drawn.setdefault(name, index)
    names = [stage.name for stage in stages]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(("stages", index, "name"), name, "a name of its own for each stage")
    missing = [name for name in ranges if name not in drawn]
    if missing:
        yield Problem(("stages",), "a list that never draws " + ", ".join(missing), "each range drawn by one stage")
    first_round = next((index for index, stage in enumerate(stages) if stage.prunes), len(stages))
    late = next((index for index, stage in enumerate(stages) if index > first_round and not stage.prunes), None)
    if late is not None:
        yield Problem(("stages", late, "draws"), format_value(list(stages[late].draws)), "pruning, after a round of it")
    n_rounds = sum(stage.prunes for stage in stages)
    if n_rounds != len(space.pruning.stages):
        expected = f"{len(space.pruning.stages)}, one for each of pruning.stages"
        yield Problem(("stages",), f"a list with {n_rounds} rounds of pruning", expected)
    yield from _find_empty_stages(stages, space)
    total = sum(stage.trials for stage in stages)
    if total != n_trials:
        yield Problem(("budget", "trials"), str(n_trials), f"{total}, the sum of the trials of all stages")


def choose(networks: Sequence[tuple[float, float]], rule: SelectPart, guess: float) -> int | None:
    """Index of the network that a stage hands on, of their accuracies and inference costs; None where there is none.

    `guess` is the accuracy of guessing. A network without any weights is none.
    """
    indices = [index for index, (_, cost) in enumerate(networks) if cost > 0]
    if not indices:
        return None
    accurate = [index for index in indices if networks[index][0] >= (rule.accuracy_at_least or 0.0)]
    if not accurate or rule.best == "accuracy":
        return max(indices, key=lambda index: (networks[index][0], -networks[index][1]))
    if rule.best == "inference_cost":
        return min(accurate, key=lambda index: (networks[index][1], -networks[index][0]))
    corner = 2 * max(cost for _, cost in networks)
    return max(accurate, key=lambda index: max(networks[index][0] - guess, 0) * math.log(corner / networks[index][1]))


_N_TRIES = 50


def _find_empty_stages(stages: Sequence[CampaignStagePart], space: SearchSpace) -> Iterator[Problem]:
    """Stages of which no draw can be built, with those values at their largest that are not drawn yet."""
    largest = list_largest(space)
    drawn: set[str] = set()
    for index, stage in enumerate(stages):
        if stage.prunes:
            return
        drawn |= set(stage.draws)
        held = {path: value for path, value in largest.items() if find_field(path) not in drawn}
        reasons: list[str] = []
        for number in range(_N_TRIES):
            try:
                space.shorten(0).suggest(_HeldTrial(random.Random(number), held))
                break
            except ArchitectureError as error:
                reasons.append(str(error))
        else:
            given = f"a stage of which {_N_TRIES} draws gave no network, with the largest value of what comes later"
            yield Problem(("stages", index), given, f"values that fit together; the last problem: {reasons[-1]}")


@dataclass(frozen=True)
class _HeldTrial:
    """Draws at random what is not held."""

    generator: random.Random
    held: Mapping[str, Scalar]

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self.held[name] if name in self.held else self.generator.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        value = self.held.get(name, self.generator.randrange(low, high + 1, step))
        assert isinstance(value, int)
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = self.held.get(name, self.generator.uniform(low, high))
        assert isinstance(value, int | float)
        return float(value)


@dataclass
class _LargestTrial:
    values: dict[str, Scalar] = field(default_factory=dict)

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
        return self._note(name, max(numbers) if len(numbers) == len(choices) else choices[-1])

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self._note(name, high)
        return high

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self._note(name, high)
        return high

    def _note(self, name: str, value: Scalar) -> Scalar:
        self.values[name] = value
        return value


def hold_values(
    stages: Sequence[CampaignStagePart], index: int, largest: Mapping[str, Scalar], base: Mapping[str, object]
) -> dict[str, object]:
    """The values that a stage does not draw: those of the network it begins with, else the largest."""
    stage = stages[index]
    drawn = () if stage.prunes else stage.draws
    held: dict[str, object] = {**largest, **base}
    own = f"pruning.stages[{count_rounds(stages, index) - 1}]." if stage.prunes else None
    return {
        path: value
        for path, value in held.items()
        if find_field(path) not in drawn and not (own is not None and path.startswith(own))
    }
