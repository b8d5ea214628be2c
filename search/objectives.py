"""The objectives and constraints of a study, and what its networks cover of them: front and hypervolume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from search.pareto import hypervolume, hypervolume_contributions, non_dominated
from spaces.metrics import ACCURACY, INFERENCE_COST, THROUGHPUT, Direction, MeasuredNetwork, Metric, Source
from spaces.study_config import StudyConfig
from storage.hardware_reports import HardwareEstimate


@dataclass(frozen=True)
class Objective:
    """A metric that a study optimizes."""

    metric: Metric
    reference: float | None
    """A network must be better than this to add to the hypervolume; None while it is not known."""
    unit: float = 1.0
    """Difference in the metric that counts as 1 in the hypervolume: from the reference to the best possible value."""

    @property
    def name(self) -> str:
        """Of the metric."""
        return self.metric.name


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric: `at_least` or `at_most`, never both."""

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None

    @property
    def name(self) -> str:
        """Of the metric."""
        return self.metric.name

    @property
    def bound(self) -> float:
        """Whichever of the two is given."""
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None  # StudyConfig's constraints have one
        return bound

    def excess(self, network: NetworkMetrics) -> float:
        """How far the network exceeds the bound, as a fraction of it. The constraint holds at 0 and below."""
        value = self.metric.read(network)
        beyond = value - self.bound if self.at_least is None else self.bound - value
        return beyond / self.bound

    def holds(self, network: NetworkMetrics) -> bool:
        """Whether the network keeps the bound."""
        return self.excess(network) <= 0

    def describe_bound(self) -> str:
        """Such as "at least 100,000 frames/s"."""
        return f"{'at most' if self.at_least is None else 'at least'} {self.metric.text(self.bound)}"

    def __str__(self) -> str:
        return f"{self.metric.label} {self.describe_bound()}"


class NetworkMetrics(MeasuredNetwork, Protocol):
    """A network with its metrics, and what its board has."""

    @property
    def hardware(self) -> HardwareEstimate | None:
        """None where the study asks for no hardware."""


def study_objectives(config: StudyConfig) -> tuple[Objective, ...]:
    """The study's objectives, accuracy first. Resources and latency without a bound have no reference yet."""
    bounds = {constraint.name: constraint.bound for constraint in study_constraints(config)}
    target_fps = config.fpga.target_fps
    return tuple(_objective(metric, bounds.get(metric.name), target_fps) for metric in config.objectives.metrics)


def study_constraints(config: StudyConfig) -> tuple[Constraint, ...]:
    """The study's constraints."""
    part = config.constraints
    return tuple(Constraint(metric, **getattr(part, metric.name).model_dump()) for metric in part.metrics)


def keeps_all(constraints: Iterable[Constraint], network: NetworkMetrics) -> bool:
    """Whether the network is feasible."""
    return all(constraint.holds(network) for constraint in constraints)


def complete_references(objectives: Sequence[Objective], networks: Sequence[NetworkMetrics]) -> tuple[Objective, ...]:
    """Fills in missing references from the networks: the board's resources, else the largest value.

    Without networks they stay None.
    """
    return tuple(
        _with_reference(one, _find_reference(one, networks)) if one.reference is None else one for one in objectives
    )


def find_front(objectives: Sequence[Objective], networks: Sequence[NetworkMetrics]) -> list[int]:
    """Indices of the non-dominated networks, sorted by the second objective from its best value."""
    return non_dominated([_point(objectives, network) for network in networks], _directions(objectives))


def measure_hypervolume(objectives: Sequence[Objective], networks: Sequence[NetworkMetrics]) -> float:
    """The hypervolume, each objective in its unit. Higher is better; at most 1, except with throughput."""
    if not networks:
        return 0.0
    points = [_scaled_point(objectives, network) for network in networks]
    return hypervolume(points, _corner(objectives), _directions(objectives))


def measure_contributions(objectives: Sequence[Objective], networks: Sequence[NetworkMetrics]) -> list[float]:
    """For each network, the hypervolume that it alone covers."""
    if not networks:
        return []
    points = [_scaled_point(objectives, network) for network in networks]
    return hypervolume_contributions(points, _corner(objectives), _directions(objectives))


def _objective(metric: Metric, bound: float | None, target_fps: int) -> Objective:
    if metric is ACCURACY:
        return Objective(metric, reference=0.0)
    if metric is THROUGHPUT:
        reference = bound or 0.0
        return Objective(metric, reference, unit=reference or float(target_fps))
    known = bound or (1.0 if metric is INFERENCE_COST else None)
    return _with_reference(Objective(metric, None), known)


def _with_reference(objective: Objective, reference: float | None) -> Objective:
    return replace(objective, reference=reference, unit=reference or 1.0)


def _find_reference(objective: Objective, networks: Sequence[NetworkMetrics]) -> float | None:
    metric = objective.metric
    boards = (network.hardware.available for network in networks if network.hardware is not None)
    available = next(filter(None, boards), None)
    if metric.source is Source.RESOURCES and available:
        return float(getattr(available, metric.field_name))
    return max((metric.read(network) for network in networks), default=None)


def _directions(objectives: Iterable[Objective]) -> list[Direction]:
    return [objective.metric.direction for objective in objectives]


def _point(objectives: Iterable[Objective], network: NetworkMetrics) -> list[float]:
    return [objective.metric.read(network) for objective in objectives]


def _scaled_point(objectives: Iterable[Objective], network: NetworkMetrics) -> list[float]:
    return [objective.metric.read(network) / objective.unit for objective in objectives]


def _corner(objectives: Iterable[Objective]) -> list[float]:
    return [(objective.reference or 0.0) / objective.unit for objective in objectives]
