"""The objectives and constraints of a study: what each is, its value of a network, and where its hypervolume begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from search.pareto import Direction, hypervolume, hypervolume_contributions, non_dominated
from spaces.study_config import HARDWARE_FIGURES, StudyConfig
from storage.records import HardwareEstimate


@dataclass(frozen=True)
class Objective:
    """One figure that a study makes as good as it can."""

    name: str
    direction: Direction
    label: str
    """Title of an axis or column."""
    reference: float | None
    """Value from which on a network adds to the hypervolume; None where it is not known yet."""
    unit: float = 1.0
    """Difference of values that is 1 in the hypervolume: from the reference to the best value there can be, if any."""


@dataclass(frozen=True)
class Constraint:
    """A bound on one figure; one of the two is there."""

    name: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> float:
        """The one that is there."""
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None  # StudyConfig's constraints have one
        return bound

    def excess(self, value: float) -> float:
        """How far the value is beyond the bound, as a fraction of it; the constraint holds at 0 and below."""
        beyond = value - self.bound if self.at_least is None else self.bound - value
        return beyond / self.bound

    def __str__(self) -> str:
        words = "at most" if self.at_least is None else "at least"
        return f"{LABELS[self.name]} {words} {format_figure(self.name, self.bound)}"


class Measured(Protocol):
    """A network with its figures, such as a trial in a report."""

    @property
    def accuracy(self) -> float:
        """Of validation frames."""

    @property
    def inference_cost(self) -> float:
        """The challenge's score."""

    @property
    def hardware(self) -> HardwareEstimate | None:
        """None where the study asks for no hardware."""


LABELS = {
    "accuracy": "accuracy",
    "inference_cost": "inference cost η (8-bit VGG10 = 1)",
    "lut": "LUT",
    "dsp": "DSP",
    "bram": "BRAM (18 Kb)",
    "throughput_fps": "frames/s",
    "latency_us": "latency, µs",
}
"""Of all objectives and constraints, by name."""

ACCURACY = Objective("accuracy", "maximize", LABELS["accuracy"], reference=0.0)
INFERENCE_COST = Objective("inference_cost", "minimize", LABELS["inference_cost"], reference=1.0)
DEFAULT_OBJECTIVES = (ACCURACY, INFERENCE_COST)
"""Of a study that names no other."""


def study_objectives(config: StudyConfig) -> tuple[Objective, ...]:
    """The study's objectives, accuracy first; those of resources and latency without a bound get no reference yet."""
    bounds = {constraint.name: constraint.bound for constraint in study_constraints(config)}
    return tuple(_objective(name, bounds.get(name), config.fpga.target_fps) for name in config.objectives.names)


def study_constraints(config: StudyConfig) -> tuple[Constraint, ...]:
    """The study's constraints."""
    part = config.constraints
    return tuple(Constraint(name, **getattr(part, name).model_dump()) for name in part.names)


def figure_value(measured: Measured, name: str) -> float:
    """The value of an objective or constraint. Raises KeyError for a hardware figure of a network without estimate."""
    if name == "accuracy":
        return measured.accuracy
    if name == "inference_cost":
        return measured.inference_cost
    if measured.hardware is None:
        raise KeyError(name)
    return float(getattr(measured.hardware, "bram_18k" if name == "bram" else name))


def format_figure(name: str, value: float) -> str:
    """The value as a person reads it, without its unit."""
    if name == "accuracy":
        return f"{value:.2%}"
    if name == "inference_cost":
        return f"{value:.6f}"
    return f"{value:,.1f}" if name == "latency_us" else f"{value:,.0f}"


def describe_figure(name: str, value: float) -> str:
    """The value with its name, for a sentence."""
    label = {"inference_cost": "cost", "latency_us": "latency in µs"}.get(name, LABELS[name])
    return f"{label} {format_figure(name, value)}"


def complete_references(objectives: Sequence[Objective], trials: Sequence[Measured]) -> tuple[Objective, ...]:
    """The objectives with the references that only trials tell: the board's resources, else the largest value.

    Without any trial they stay None.
    """
    return tuple(
        objective if objective.reference is not None else _with_reference(objective, _find_reference(objective, trials))
        for objective in objectives
    )


def find_front(objectives: Sequence[Objective], trials: Sequence[Measured]) -> list[int]:
    """Indices of the trials that no other beats or equals in all objectives, by the second, its best first."""
    return non_dominated([_point(objectives, trial) for trial in trials], _directions(objectives))


def measure_hypervolume(objectives: Sequence[Objective], trials: Sequence[Measured]) -> float:
    """What the trials cover, each objective in its unit; at most 1 but for throughput. Higher is better."""
    if not trials:
        return 0.0
    points = [_scaled_point(objectives, trial) for trial in trials]
    return hypervolume(points, _corner(objectives), _directions(objectives))


def measure_contributions(objectives: Sequence[Objective], trials: Sequence[Measured]) -> list[float]:
    """What only this trial covers, for each of them; its unit is the hypervolume's."""
    if not trials:
        return []
    points = [_scaled_point(objectives, trial) for trial in trials]
    return hypervolume_contributions(points, _corner(objectives), _directions(objectives))


def _objective(name: str, bound: float | None, target_fps: int) -> Objective:
    if name == "accuracy":
        return ACCURACY
    if name == "throughput_fps":
        reference = bound or 0.0
        return Objective(name, "maximize", LABELS[name], reference, unit=reference or float(target_fps))
    known = bound or (INFERENCE_COST.reference if name not in HARDWARE_FIGURES else None)
    return _with_reference(Objective(name, "minimize", LABELS[name], None), known)


def _with_reference(objective: Objective, reference: float | None) -> Objective:
    return replace(objective, reference=reference, unit=reference or 1.0)


def _find_reference(objective: Objective, trials: Sequence[Measured]) -> float | None:
    of_board = {"lut": "lut", "dsp": "dsp", "bram": "bram_18k"}.get(objective.name)
    boards = (trial.hardware.available for trial in trials if trial.hardware is not None)
    available = next(filter(None, boards), None)
    if of_board and available:
        return float(getattr(available, of_board))
    return max((figure_value(trial, objective.name) for trial in trials), default=None)


def _directions(objectives: Iterable[Objective]) -> list[Direction]:
    return [objective.direction for objective in objectives]


def _point(objectives: Iterable[Objective], trial: Measured) -> list[float]:
    return [figure_value(trial, objective.name) for objective in objectives]


def _scaled_point(objectives: Iterable[Objective], trial: Measured) -> list[float]:
    return [figure_value(trial, objective.name) / objective.unit for objective in objectives]


def _corner(objectives: Iterable[Objective]) -> list[float]:
    return [(objective.reference or 0.0) / objective.unit for objective in objectives]
