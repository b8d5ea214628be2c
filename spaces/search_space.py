"""The ranges of a study, and one point of them: `suggest(trial)` gives a Design with no choice left."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from spaces.allowed_values import FieldRule, make_rule
from spaces.architecture import ArchitectureConfig, ArchitectureError, make_float
from spaces.block_space import BlockEntry, draw_blocks, find_smallest_stride_product, parse_blocks
from spaces.blocks import FrozenModel
from spaces.distributions import Choices, Drawable, Scalar, SuggestingTrial, draw, find_smallest, parse_drawable
from spaces.problems import InvalidValueError, Problem, format_value
from spaces.pruning_stages import MagnitudeStage, PruningStage
from spaces.quantization_defaults import BIT_WIDTH_RULE, DEFAULT_BIT_WIDTHS, fill_in_bit_widths
from spaces.stage_space import StageSpace, draw_stages, parse_stages

RestartEpochs = Annotated[int, Field(ge=1)]

TrainingKind = Literal["quantization_aware", "post_training"]
"""quantization_aware: trained with its quantizers. post_training: trained in float32, and quantized then."""

CalibrationFrames = Annotated[int, Field(ge=1, le=10**6)]

MinSNR = Annotated[int, Field(ge=-20, le=30)]
"""An SNR label in dB."""

Schedule = Literal["hold", "restarts", "plateau"]
"""hold: the rate is held, then lowered to 0 for each measured network; the next stage goes on from where it was held.
restarts: cosine warm restarts, each stage from the network that was measured; the papers' way.
plateau: lowered whenever validation accuracy no longer rises, each stage from the network that was measured."""

Patience = Annotated[int, Field(ge=0, le=1000)]

Factor = Annotated[float, Field(gt=0, lt=1)]

StopAt = Annotated[float, Field(gt=0, lt=1)]
"""A validation accuracy, 0 to 1."""

StopLoss = Annotated[float, Field(gt=0, le=10)]
"""Mean cross-entropy of an epoch's training frames, nats."""

_OWN_FIELDS = {"restarts": ("restart_epochs",), "plateau": ("patience", "factor", "stop_at", "stop_loss")}
"""What one schedule alone has."""

_EMPTY_ALLOWED = {
    "restart_epochs": "a whole number of at least 1",
    "patience": "a whole number from 0 to 1000",
    "factor": "a number above 0 and below 1",
}
"""What is not to be empty where a schedule has it, and what it may be."""

_RECIPES: dict[str, dict[str, object]] = {
    "hold": {"batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.0},
    "restarts": {"batch_size": 1024, "learning_rate": 0.01, "weight_decay": 0.0, "restart_epochs": 5},
    "plateau": {"batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.0, "patience": 2, "factor": 0.1},
}
"""What a study file has where it gives nothing."""


class TrainingSettings(FrozenModel):
    """How one network is trained: Adam on cross-entropy, and a schedule of the learning rate."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 1024
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    restart_epochs: RestartEpochs | None = 5
    """With the schedule restarts: epochs from one restart of the cosine to the next; else None."""
    schedule: Annotated[Schedule, Field(exclude_if=lambda value: value == "restarts")] = "restarts"
    patience: Annotated[Patience | None, Field(exclude_if=lambda value: value is None)] = None
    """With the schedule plateau: epochs in a row that may be no better than all before; else None."""
    factor: Annotated[Factor | None, Field(exclude_if=lambda value: value is None)] = None
    """With the schedule plateau: what the rate is multiplied by after that; else None."""
    stop_at: Annotated[StopAt | None, Field(exclude_if=lambda value: value is None)] = None
    """With the schedule plateau: training and each stage end with the epoch that reaches this; None: after all."""
    stop_loss: Annotated[StopLoss | None, Field(exclude_if=lambda value: value is None)] = None
    """The same for an epoch whose training loss is this or less, in nats."""
    kind: Annotated[TrainingKind, Field(exclude_if=lambda value: value == "quantization_aware")] = "quantization_aware"
    calibration_frames: Annotated[CalibrationFrames | None, Field(exclude_if=lambda value: value is None)] = None
    """So many training frames set the ranges of activations after training; None: 1024."""
    min_snr_db: Annotated[MinSNR | None, Field(exclude_if=lambda value: value is None)] = None
    """Frames of lower SNR labels are not trained on; None: as the study's data set has it."""

    @property
    def n_calibration_frames(self) -> int | None:
        """None where the network is trained with its quantizers."""
        return None if self.kind == "quantization_aware" else self.calibration_frames or 1024


class Design(FrozenModel):
    """One point of a search space: the network, how it is trained, how it is pruned."""

    architecture: ArchitectureConfig
    training: TrainingSettings
    stages: tuple[PruningStage, ...] = ()
    parent: Annotated[Design | None, Field(exclude_if=lambda value: value is None)] = None
    """What it begins with the weights of, once that is trained; it has no stages. None: with fresh weights."""

    @property
    def generation(self) -> int:
        """How many designs were trained one after another for the weights that it begins with."""
        return 0 if self.parent is None else self.parent.generation + 1

    @property
    def n_epochs(self) -> int:
        """Of the training and of all stages."""
        return self.training.epochs + sum(stage.epochs for stage in self.stages)

    @property
    def goes_back(self) -> bool:
        """Whether a stage goes back to the weights after the first epoch."""
        return any(isinstance(stage, MagnitudeStage) and stage.rewind == "weights" for stage in self.stages)

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
_KIND = make_rule(TrainingSettings.model_fields["kind"])
_MIN_SNR = make_rule(TrainingSettings.model_fields["min_snr_db"])

_AsPlain = PlainSerializer(to_jsonable_python)


def _list_plain(stages: tuple[StageSpace, ...]) -> object:
    return to_jsonable_python([stage.to_plain() for stage in stages])


_FIELDS = ArchitectureConfig.model_fields


class TrainingPart(Part):
    """How each trial is trained. The epochs are in the budget.

    The schedule is hold, or restarts where `restart_epochs` is given; it has its own defaults.
    """

    kind: Annotated[
        Drawable, _KIND, _parse_with(_KIND), _AsPlain, Field(exclude_if=lambda value: value == "quantization_aware")
    ] = "quantization_aware"
    calibration_frames: Annotated[CalibrationFrames | None, Field(exclude_if=lambda value: value is None)] = None
    """So many training frames set the ranges of activations after training; left out: 1024."""
    schedule: Annotated[Schedule, Field(exclude_if=lambda value: value == "restarts")]
    """How the learning rate moves, and what a stage goes on from."""
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    """Frames of a step; left out: 64, with restarts 1024."""
    learning_rate: Annotated[Drawable, _LEARNING_RATE, _parse_with(_LEARNING_RATE), _AsPlain]
    """The highest of the training; left out: 0.01."""
    weight_decay: Annotated[Drawable, _WEIGHT_DECAY, _parse_with(_WEIGHT_DECAY), _AsPlain]
    """Lambda of the papers, in the training proper; left out: 0."""
    restart_epochs: Annotated[RestartEpochs | None, Field(exclude_if=lambda value: value is None)] = None
    """Of the schedule restarts: epochs from one restart of the cosine to the next; left out: 5."""
    patience: Annotated[Patience | None, Field(exclude_if=lambda value: value is None)] = None
    """Of the schedule plateau: epochs in a row that may be no better than all before; left out: 2."""
    factor: Annotated[Factor | None, Field(exclude_if=lambda value: value is None)] = None
    """Of the schedule plateau: what the rate is multiplied by after that; left out: 0.1."""
    stop_at: Annotated[StopAt | None, Field(exclude_if=lambda value: value is None)] = None
    """Of the schedule plateau: a validation accuracy, 0 to 1, with which training and each stage end."""
    stop_loss: Annotated[StopLoss | None, Field(exclude_if=lambda value: value is None)] = None
    """Of the schedule plateau: a training loss, in nats, with which training and each stage end."""
    min_snr_db: Annotated[
        Drawable, _MIN_SNR, _parse_with(_MIN_SNR), _AsPlain, Field(exclude_if=lambda value: value is None)
    ] = None
    """Instead of `dataset.min_training_snr_db`, where it is to be a choice."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        schedule = given.get("schedule", "restarts" if "restart_epochs" in given else "hold")
        if schedule not in list(_RECIPES):
            schedule = "hold"  # what was given is a problem of its own
        others = {name: owner for owner, names in _OWN_FIELDS.items() for name in names if owner != schedule}
        problems = [
            Problem((name,), format_value(given[name]), f"left out with the schedule {schedule}; {owner} has it")
            for name, owner in others.items()
            if name in given
        ]
        recipe = _RECIPES[schedule]
        empty = [name for name, value in given.items() if value is None and name in recipe.keys() & _EMPTY_ALLOWED]
        problems += [Problem((name,), "empty", _EMPTY_ALLOWED[name]) for name in empty]
        if problems:
            raise InvalidValueError(problems)
        if given.get("kind", "quantization_aware") == "quantization_aware" and "calibration_frames" in given:
            expected = "left out with the kind quantization_aware, which needs none"
            shown = format_value(given["calibration_frames"])
            raise InvalidValueError([Problem(("calibration_frames",), shown, expected)])
        return {**recipe, "schedule": schedule, **given}


class PruningPart(Part):
    """The pruning stages in order. Each continues with the network of the stage before."""

    stages: Annotated[tuple[StageSpace, ...], PlainValidator(parse_stages), PlainSerializer(_list_plain)] = ()


_Bits = Annotated[Drawable, BIT_WIDTH_RULE, _parse_with(BIT_WIDTH_RULE), _AsPlain]


class QuantizationPart(Part):
    """Bit widths of the blocks that are given none; a distribution is drawn from for each block anew."""

    weights: _Bits = DEFAULT_BIT_WIDTHS["weights"]
    """Of convolutions over all channels: conv, pointwise, expansion and projection."""
    depthwise_weights: _Bits = DEFAULT_BIT_WIDTHS["depthwise_weights"]
    """Not of a block that gives its weight_bit_width."""
    linear_weights: _Bits = DEFAULT_BIT_WIDTHS["linear_weights"]
    activations: _Bits = DEFAULT_BIT_WIDTHS["activations"]
    """Not of linear blocks, whose last has none."""


class SpacePart(Part):
    """The network from frames to class scores: its blocks, whose fields and repetitions may be ranges."""

    blocks: Annotated[tuple[BlockEntry, ...], PlainValidator(parse_blocks), _AsPlain]
    frame_length: Annotated[int, Field(ge=1, le=65536)] = _FIELDS["frame_length"].default
    """Samples of a frame of the data set; by default RadioML 2018.01A's."""
    n_classes: Annotated[int, Field(ge=2, le=1024)] = _FIELDS["n_classes"].default
    """Classes of the data set; by default RadioML 2018.01A's."""
    quantization: QuantizationPart = QuantizationPart()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_bit_widths(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "blocks" not in given:
            return given
        return {**given, "blocks": fill_in_bit_widths(given["blocks"], given.get("quantization"))}

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
        architecture, training = _suggest_architecture(self.space, trial), self.suggest_training(trial)
        if training.kind == "post_training" and architecture == make_float(architecture):
            raise ArchitectureError("training.kind is post_training with 32 bits everywhere; expected fewer somewhere")
        return Design(
            architecture=architecture,
            training=training,
            stages=draw_stages(self.pruning.stages, trial, "pruning.stages"),
        )

    def shorten(self, n_stages: int) -> SearchSpace:
        """The same space with the first pruning stages alone."""
        return replace(self, pruning=PruningPart.model_construct(stages=self.pruning.stages[:n_stages]))

    def suggest_training(self, trial: SuggestingTrial) -> TrainingSettings:
        """How the design is trained."""
        values = {name: draw(trial, f"training.{name}", value) for name, value in self.training}
        return TrainingSettings.model_validate({"epochs": self.epochs, **values})


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
    trials: list[SuggestingTrial] = [_SmallestTrial(), *(RandomTrial(random.Random(i)) for i in range(_N_TRIES))]
    for trial in trials:
        try:
            _suggest_architecture(space, trial)
        except ArchitectureError as error:
            reasons.append(str(error))
        else:
            return None
    given = f"a list that gave no network in {len(reasons)} draws"
    return Problem(
        ("blocks",), given, f"blocks that can fit together; the most frequent problem: {find_most_frequent(reasons)}"
    )


def find_most_frequent(reasons: Sequence[str]) -> str:
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
class RandomTrial:
    """Draws uniformly."""

    generator: random.Random

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self.generator.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return self.generator.randrange(low, high + 1, step)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self.generator.uniform(low, high)
