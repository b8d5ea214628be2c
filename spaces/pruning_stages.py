"""The pruning stages of a design: which weights become zero for good, and how the rest is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from spaces.blocks import FrozenModel
from spaces.problems import InvalidValueError, Problem, format_value

Scope = Literal["network", "layer"]
"""Whether weights are compared over the whole network, or each layer by itself."""

Ramp = Literal["gradual", "one_shot"]
"""Whether weights go bit by bit while the network trains, or all at the start of the stage."""

Rewind = Literal["nothing", "learning_rate", "weights"]
"""What goes back to where it was before a stage trains on (Renda et al., ICLR 2020): the learning rate to its highest,
or also all weights that are left to where they were after the first epoch. With nothing, a rate that was lowered on a
plateau stays so."""

InferenceCost = Annotated[float, Field(gt=0, le=100)]
"""The cost of the network at the end of the stage; weights go until it is reached."""


class _FineTuning(FrozenModel):
    """What all kinds have: the fine-tuning after weights are removed."""

    epochs: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Lambda in the papers."""


class ThresholdStage(FrozenModel):
    """Weights below epsilon become zero: BacalhauNet's way (Rosa et al., ITU J-FET)."""

    kind: Annotated[Literal["threshold"], Field(exclude_if=lambda value: True)] = "threshold"
    epsilon: Annotated[float, Field(ge=0, le=10)]
    """In units of the float weight before quantization; with `scope` layer, of the root mean square of its weights."""
    scope: Annotated[Scope, Field(exclude_if=lambda value: value == "network")] = "network"
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    """Lambda in the papers."""
    epochs: Annotated[int, Field(ge=0)]


class MagnitudeStage(_FineTuning):
    """The smallest weights become zero: a fraction of those that are left, or as many as a cost target asks for.

    A(MC)'s iterative magnitude pruning is ten such stages with the fraction 0.2 and the scope network.
    """

    kind: Literal["magnitude"] = "magnitude"
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of the weights that are left."""
    inference_cost: InferenceCost | None = None
    scope: Scope = "network"
    ramp: Ramp | None = None
    """Empty: gradual down to an inference cost, one_shot by a fraction."""
    rewind: Annotated[Rewind, Field(exclude_if=lambda value: value == "nothing")] = "nothing"

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        given = f"{format_value(self.fraction)} with inference_cost {format_value(self.inference_cost)}"
        if (self.fraction is None) == (self.inference_cost is None):
            raise InvalidValueError([Problem(("fraction",), given, "one of both, and the other left out")])
        if self.inference_cost is not None and self.scope == "layer":
            raise InvalidValueError([Problem(("scope",), "layer with inference_cost", "network, or a fraction")])
        if self.fraction is not None and self.ramp == "gradual":
            raise InvalidValueError([Problem(("ramp",), "gradual with fraction", "one_shot, or an inference_cost")])
        if self.is_gradual and self.rewind != "nothing":
            expected = "nothing in a gradual stage, or the ramp one_shot"
            raise InvalidValueError([Problem(("rewind",), self.rewind, expected)])
        return self

    @property
    def is_gradual(self) -> bool:
        """Whether weights go while the network trains."""
        return self.inference_cost is not None and self.ramp != "one_shot"


class CostAwareStage(_FineTuning):
    """The weights that do the least for each unit of inference cost become zero, until a target cost is reached."""

    kind: Literal["cost_aware"] = "cost_aware"
    inference_cost: InferenceCost
    ramp: Ramp = "gradual"

    @property
    def is_gradual(self) -> bool:
        """Whether weights go while the network trains."""
        return self.ramp == "gradual"


class StructuredStage(_FineTuning):
    """Whole channels are removed: the network is smaller afterwards, in the exported graph too."""

    kind: Literal["structured"] = "structured"
    fraction: Annotated[float, Field(gt=0, lt=1)]
    """Of the channels of each layer, rounded; or with `scope` network, of all."""
    by: Literal["l1", "l2", "batch_norm"] = "l2"
    """A channel's score: the norm of its weights, or the scale of its batch norm (network slimming)."""
    scope: Scope = "layer"


def _read_kind(stage: object) -> object:
    """A stored stage without a kind is from when there was only one."""
    return stage.get("kind", "threshold") if isinstance(stage, dict) else getattr(stage, "kind", None)


PruningStage = Annotated[
    Annotated[ThresholdStage, Tag("threshold")]
    | Annotated[MagnitudeStage, Tag("magnitude")]
    | Annotated[CostAwareStage, Tag("cost_aware")]
    | Annotated[StructuredStage, Tag("structured")],
    Discriminator(_read_kind),
]

STAGE_KINDS: dict[str, type[FrozenModel]] = {
    "threshold": ThresholdStage,
    "magnitude": MagnitudeStage,
    "cost_aware": CostAwareStage,
    "structured": StructuredStage,
}
