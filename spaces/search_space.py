"""The ranges of a study, and one point of them: `suggest(trial)` gives a Design with no choice left."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from spaces.allowed_values import FieldRule, make_rule
from spaces.architecture import ArchitectureConfig, ArchitectureError, FrozenModel
from spaces.block_space import BlockEntry, draw_blocks, find_smallest_stride_product, parse_blocks
from spaces.distributions import Choices, Drawable, Scalar, SuggestingTrial, draw, find_smallest, parse_drawable
from spaces.problems import InvalidValueError, Problem


class TrainingSettings(FrozenModel):
    """How one network is trained: Adam, cosine warm restarts, cross-entropy."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 1024
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    restart_epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs from one restart of the cosine schedule to the next."""


class PruningStage(FrozenModel):
    """One pruning stage. Sets weights below epsilon to zero for good, then fine-tunes with weight decay lambda."""

    epsilon: Annotated[float, Field(ge=0, le=10)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    """Lambda in the papers."""
    epochs: Annotated[int, Field(ge=0)]


class Design(FrozenModel):
    """One point of a search space: the network, how it is trained, how it is pruned."""

    architecture: ArchitectureConfig
    training: TrainingSettings
    stages: tuple[PruningStage, ...] = ()

    @property
    def architecture_id(self) -> str:
        """The id of the network, without training and pruning."""
        return self.architecture.architecture_id


class Part(FrozenModel):
    """One mapping of a study file."""

    model_config = ConfigDict(allow_inf_nan=False)


def _parse_with(rule: FieldRule) -> PlainValidator:
    return PlainValidator(lambda value: parse_drawable(value, rule))


_LEARNING_RATE = make_rule(TrainingSettings.model_fields["learning_rate"])
_WEIGHT_DECAY = make_rule(TrainingSettings.model_fields["weight_decay"])
_EPSILON = make_rule(PruningStage.model_fields["epsilon"])

_AsPlain = PlainSerializer(to_jsonable_python)

_FIELDS = ArchitectureConfig.model_fields


class TrainingPart(Part):
    """How each trial is trained. The epochs are in the budget."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] = 1024
    learning_rate: Annotated[Drawable, _LEARNING_RATE, _parse_with(_LEARNING_RATE), _AsPlain] = 0.01
    weight_decay: Annotated[Drawable, _WEIGHT_DECAY, _parse_with(_WEIGHT_DECAY), _AsPlain] = 0.0
    restart_epochs: Annotated[int, Field(ge=1)] = 5


class PruningStagePart(Part):
    """The ranges of one pruning stage."""

    epsilon: Annotated[Drawable, _EPSILON, _parse_with(_EPSILON), _AsPlain]
    weight_decay: Annotated[Drawable, _WEIGHT_DECAY, _parse_with(_WEIGHT_DECAY), _AsPlain]
    epochs: Annotated[int, Field(ge=0)]


class PruningPart(Part):
    """The pruning stages in order. Each continues with the network of the stage before."""

    stages: Annotated[tuple[PruningStagePart, ...], Field(strict=False)] = ()


class SpacePart(Part):
    """The network from frames to class scores: its blocks, whose fields and repetitions may be ranges."""

    blocks: Annotated[tuple[BlockEntry, ...], PlainValidator(parse_blocks), _AsPlain]
    frame_length: Annotated[int, Field(ge=1, le=65536)] = _FIELDS["frame_length"].default
    """Samples of a frame of the data set; by default RadioML 2018.01A's."""
    n_classes: Annotated[int, Field(ge=2, le=1024)] = _FIELDS["n_classes"].default
    """Classes of the data set; by default RadioML 2018.01A's."""

    @model_validator(mode="after")
    def _check_can_be_built(self) -> SpacePart:
        problem = _find_space_problem(self)
        if problem is not None:
            raise InvalidValueError([problem])
        return self


@dataclass(frozen=True)
class SearchSpace:
    """All designs of a study."""

    space: SpacePart
    training: TrainingPart
    pruning: PruningPart
    epochs: int

    def suggest(self, trial: SuggestingTrial) -> Design:
        """One design; each value is drawn under its path in the YAML, such as `space.blocks[1].kernel_size`.

        Raises ArchitectureError where the drawn blocks do not fit together.
        """
        return Design(
            architecture=_suggest_architecture(self.space, trial),
            training=self._suggest_training(trial),
            stages=tuple(_suggest_stage(trial, stage, i) for i, stage in enumerate(self.pruning.stages)),
        )

    def _suggest_training(self, trial: SuggestingTrial) -> TrainingSettings:
        values = {name: draw(trial, f"training.{name}", value) for name, value in self.training}
        return TrainingSettings.model_validate({"epochs": self.epochs, **values})


def _suggest_stage(trial: SuggestingTrial, stage: PruningStagePart, index: int) -> PruningStage:
    path = f"pruning.stages[{index}]"
    return PruningStage.model_validate({name: draw(trial, f"{path}.{name}", value) for name, value in stage})


def _suggest_architecture(space: SpacePart, trial: SuggestingTrial) -> ArchitectureConfig:
    drawn = draw_blocks(space.blocks, trial, "space.blocks")
    ends = {"frame_length": space.frame_length, "n_classes": space.n_classes}
    try:
        return ArchitectureConfig.model_validate({"blocks": tuple(d.block for d in drawn), **ends})
    except ValidationError as error:
        raise ArchitectureError(_name_entries(_find_reason(error), [d.path for d in drawn])) from error


def _find_reason(error: ValidationError) -> str:
    causes = [details.get("ctx", {}).get("error") for details in error.errors(include_url=False)]
    reasons = [str(cause) for cause in causes if isinstance(cause, ArchitectureError)]
    if not reasons:
        raise error
    return reasons[0]


def _name_entries(reason: str, paths: Sequence[str]) -> str:
    """Changes `blocks[3].stride` to its path in the study file, `space.blocks[1].times[2].blocks[0].stride`."""
    return re.sub(r"^blocks\[(\d+)\]", lambda match: paths[int(match[1])], reason)


_N_TRIES = 200


def _find_space_problem(space: SpacePart) -> Problem | None:
    smallest = find_smallest_stride_product(space.blocks)
    if smallest > space.frame_length:
        expected = f"at most the frame length, {space.frame_length}"
        return Problem(("blocks",), f"a list whose strides have a product of at least {smallest}", expected)
    reasons: list[str] = []
    trials: list[SuggestingTrial] = [_SmallestTrial(), *(_RandomTrial(random.Random(i)) for i in range(_N_TRIES))]
    for trial in trials:
        try:
            _suggest_architecture(space, trial)
        except ArchitectureError as error:
            reasons.append(str(error))
        else:
            return None
    given = f"a list that gave no network in {len(reasons)} draws"
    return Problem(
        ("blocks",), given, f"blocks that can fit together; the most frequent problem: {_find_most_frequent(reasons)}"
    )


def _find_most_frequent(reasons: Sequence[str]) -> str:
    """The first reason of the most frequent kind. Reasons that differ in values alone are one kind."""
    kinds = [re.sub(r" is .*?;", ";", re.sub(r"times\[\d+\]", "", reason)) for reason in reasons]
    return reasons[kinds.index(Counter(kinds).most_common(1)[0][0])]


class _SmallestTrial:
    """Draws the least value of each range."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return find_smallest(Choices(tuple(choices)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low


@dataclass(frozen=True)
class _RandomTrial:
    """Draws uniformly."""

    generator: random.Random

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self.generator.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return self.generator.randrange(low, high + 1, step)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self.generator.uniform(low, high)
