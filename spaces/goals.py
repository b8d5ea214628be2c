"""What a study optimizes and what its networks must keep: its parts objectives and constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from spaces.metrics import METRICS, Metric
from spaces.problems import InvalidValueError, Problem
from spaces.search_space import Part


class AccuracyObjective(Part):
    """Validation accuracy over all SNRs; higher is better."""

    direction: Literal["maximize"] = "maximize"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.56
    """The least accuracy of a design that may go to hardware."""


class MinimizedObjective(Part):
    """Inference cost, LUT, DSP, BRAM or latency; lower is better."""

    direction: Literal["minimize"] = "minimize"


class MaximizedObjective(Part):
    """Frames per second; higher is better."""

    direction: Literal["maximize"] = "maximize"


class AtMost(Part):
    """The largest value that a network may have."""

    at_most: Annotated[float, Field(gt=0)]


class AtLeast(Part):
    """The smallest value that a network may have."""

    at_least: Annotated[float, Field(gt=0)]


class AccuracyAtLeast(Part):
    """The smallest accuracy that a network may have."""

    at_least: Annotated[float, Field(gt=0, lt=1)]


Minimized = Annotated[MinimizedObjective | None, Field(description="a mapping with the keys direction")]
Maximized = Annotated[MaximizedObjective | None, Field(description="a mapping with the keys direction")]
UpperBound = Annotated[AtMost | None, Field(description="a mapping with the keys at_most")]
LowerBound = Annotated[AtLeast | None, Field(description="a mapping with the keys at_least")]
AccuracyBound = Annotated[AccuracyAtLeast | None, Field(description="a mapping with the keys at_least")]


class _NamedMetrics(Part):
    """Metrics of a network. Each may be left out, but one that is named must have a value."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are given, in the order of the class."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of these names, in the same order."""
        return tuple(METRICS[name] for name in self.names)

    @model_validator(mode="after")
    def _check_named(self) -> Self:
        empty = [
            name for name in type(self).model_fields if name in self.model_fields_set and getattr(self, name) is None
        ]
        if empty:
            fields = type(self).model_fields
            raise InvalidValueError([Problem((name,), "empty", str(fields[name].description)) for name in empty])
        return self


class ObjectivesPart(_NamedMetrics):
    """What the study optimizes: accuracy, and the metrics named beside it, by default inference cost."""

    accuracy: AccuracyObjective = AccuracyObjective()
    lut: Minimized = None
    dsp: Minimized = None
    bram: Minimized = None
    """In blocks of 18 Kb."""
    throughput_fps: Maximized = None
    latency_us: Minimized = None
    inference_cost: Minimized = None

    @model_validator(mode="before")
    @classmethod
    def _imply_inference_cost(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.keys().isdisjoint(METRICS.keys() - {"accuracy"}):
            return {**given, "inference_cost": {}}
        return given


class ConstraintsPart(_NamedMetrics):
    """Bounds that a network must keep."""

    accuracy: AccuracyBound = None
    """Of validation frames. Until networks reach it, the sampler looks for accuracy alone."""
    inference_cost: UpperBound = None
    lut: UpperBound = None
    dsp: UpperBound = None
    bram: UpperBound = None
    """In blocks of 18 Kb."""
    throughput_fps: LowerBound = None
    latency_us: UpperBound = None
