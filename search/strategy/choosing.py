"""Which design to train next: of many draws the one whose points are expected to add most to the front.

Costs of draws are known before training; `surrogate.py` says what accuracy to expect at them from all points so far.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.measured_trials import MeasuredTrial, load_measured_trials
from search.strategy.recorded_draw import RecordedDraw
from search.strategy.surrogate import AccuracyModel, Encoder, Point, expect_gains
from search.study import find_unreachable_target, make_child
from search.trial_attributes import read_design
from spaces.architecture import ArchitectureError
from spaces.distributions import Scalar
from spaces.search_space import Design
from spaces.study_config import StudyConfig
from storage.database import Database
from workers.inference_cost import count_cost

LEAST_TRIALS = 8
"""Trials with points before draws are compared; until then the sampler's own suggestions are trained."""

MOST_POINTS = 300
"""Points that the model learns from at most, so that choosing takes seconds however long the study is."""

MUTATION_RATE = 0.2
"""Of the values of a trial on the front, how many a draw near it changes."""

REFERENCE_FACTOR = 2.0
"""A network adds to the front up to this multiple of the highest cost that was measured."""


MOST_GENERATIONS = 8
"""Designs trained one after another for the weights of one. To train it again from its record takes them all."""


class DesignEncoder:
    """Turns a design into numbers: its values, and its generation."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        kept = {name: one for name, one in distributions.items() if not name.startswith("pruning.")}
        self._values = Encoder(kept)

    def encode(self, params: Mapping[str, object], design: Design) -> NDArray[np.float64]:
        """One row; cost targets are no part of it, for a point has its own cost."""
        return np.append(self._values.encode(params), design.generation / MOST_GENERATIONS)


@dataclass(frozen=True)
class Candidate:
    """A design that may be trained next."""

    params: Mapping[str, Scalar]
    parent: int | None
    """Number of the trial that it was drawn near, and whose weights it may begin with."""
    design: Design
    costs: tuple[float, ...]
    """Of its points: dense, and at each cost target that it is pruned to."""


class Chooser:
    """Chooses designs for one run of a study."""

    def __init__(self, config: StudyConfig, database: Database) -> None:
        self._config, self._database = config, database
        self._space = config.search_space
        self._measured: dict[int, MeasuredTrial] = {}
        self._designs: dict[int, Design] = {}
        """Read once: in a long study that takes longer than all else."""
        self._finished: set[int] = set()
        """Numbers of the trials whose points, if they have any, were read."""

    def choose(self, study: optuna.Study) -> Candidate | None:
        """The most promising of `study.candidates` draws; None while too little is known."""
        trials = study.get_trials(deepcopy=False)
        self._read(study, trials)
        measured = list(self._measured.values())
        if len(measured) < LEAST_TRIALS:
            return None
        generator = random.Random(f"{self._config.study.seed} {len(trials)}")
        known = set(self._designs.values())
        front = [point for point in _list_front(measured) if point[2] > 0]
        parents = [trials[number] for number in dict.fromkeys(number for number, _, _ in front)]
        candidates, distributions = self._draw(parents, known, generator)
        if not candidates:
            return None
        for trial in trials:
            distributions |= {name: one for name, one in trial.distributions.items() if name not in distributions}
        encoder = DesignEncoder(distributions)
        model = AccuracyModel(self._list_points(encoder, measured, trials), seed=self._config.study.seed)
        points = [(accuracy, cost) for _, accuracy, cost in front]
        points += self._expect_running(model, encoder, trials)
        reference = self._find_least_accuracy(), self._find_highest_cost(measured)
        rows = [encoder.encode(candidate.params, candidate.design) for candidate in candidates]
        gains = expect_gains(model, rows, [candidate.costs for candidate in candidates], points, reference)
        return candidates[int(np.argmax(gains))]

    def _read(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        """What is new since it was last asked."""
        for trial in trials:
            if trial.number not in self._designs and (design := read_design(trial)) is not None:
                self._designs[trial.number] = design
        finished = {trial.number for trial in trials if trial.state.is_finished()}
        new = load_measured_trials(self._database, study, self._finished)
        self._finished = finished
        self._measured = {trial.trial_number: trial for trial in sorted([*self._measured.values(), *new], key=_number)}

    def _draw(
        self, parents: Sequence[FrozenTrial], known: set[Design], generator: random.Random
    ) -> tuple[list[Candidate], dict[str, BaseDistribution]]:
        """Designs that can be built and are new: two thirds at random, a third near those on the front."""
        candidates: list[Candidate] = []
        distributions: dict[str, BaseDistribution] = {}
        for number in range(self._config.study.candidates):
            parent = generator.choice(parents) if parents and number % 3 == 0 else None
            trial = RecordedDraw(generator, {} if parent is None else parent.params, MUTATION_RATE)
            try:
                design = self._space.suggest(trial)
            except ArchitectureError:
                continue
            first = None if parent is None else self._designs[parent.number]
            heir = None
            if self._config.study.inherits and first is not None and first.generation < MOST_GENERATIONS:
                assert parent is not None
                design, heir = make_child(design, first), parent.number
            if design in known or find_unreachable_target(design) is not None:
                continue
            distributions |= trial.distributions
            candidates.append(Candidate(trial.params, heir, design, list_known_costs(design)))
        most = max((len(candidate.costs) for candidate in candidates), default=0)
        filled = [replace(one, costs=one.costs + one.costs[-1:] * (most - len(one.costs))) for one in candidates]
        return filled, distributions

    def _find_least_accuracy(self) -> float:
        """The accuracy up to which a network adds nothing: that of a guess, or the study's bound."""
        bound = self._config.constraints.accuracy
        return 1 / self._config.space.n_classes if bound is None else bound.at_least

    def _find_highest_cost(self, measured: Sequence[MeasuredTrial]) -> float:
        """The cost from which on a network adds nothing."""
        bound = self._config.constraints.inference_cost
        highest = REFERENCE_FACTOR * max(point.inference_cost for trial in measured for point in trial.points)
        return highest if bound is None else min(highest, bound.at_most)

    def _list_points(
        self, encoder: DesignEncoder, measured: Sequence[MeasuredTrial], trials: Sequence[FrozenTrial]
    ) -> list[Point]:
        """Of the latest trials, and of those on the front."""
        on_front = {number for number, _, _ in _list_front(measured)}
        latest = sorted(measured, key=lambda trial: (trial.trial_number in on_front, trial.trial_number), reverse=True)
        points: list[Point] = []
        for trial in latest:
            row = encoder.encode(trials[trial.trial_number].params, trial.design)
            points += [
                Point(row, point.inference_cost, point.accuracy) for point in trial.points if point.inference_cost
            ]
            if len(points) >= MOST_POINTS:
                break
        return points

    def _expect_running(
        self, model: AccuracyModel, encoder: DesignEncoder, trials: Sequence[FrozenTrial]
    ) -> list[tuple[float, float]]:
        """What the trials that run now are expected to give, so that the next does not seek the same."""
        points: list[tuple[float, float]] = []
        for trial in trials:
            design = self._designs.get(trial.number) if trial.state is TrialState.RUNNING else None
            if design is not None:
                costs = list_known_costs(design)
                mean, _ = model.predict([encoder.encode(trial.params, design)], [costs])
                points += zip(mean[0].tolist(), costs, strict=True)
        return points


def _number(trial: MeasuredTrial) -> int:
    return trial.trial_number


def list_known_costs(design: Design) -> tuple[float, ...]:
    """The costs of a design's points that are known before training: dense, and at each cost target."""
    dense = count_cost(design.architecture, {}).inference_cost
    targets = (getattr(stage, "inference_cost", None) for stage in design.stages)
    return dense, *(min(dense, target) for target in targets if target is not None)


def _list_front(measured: Sequence[MeasuredTrial]) -> list[tuple[int, float, float]]:
    """Trial number, accuracy and cost of the points that none beats in both."""
    points = sorted(
        (point.inference_cost, -point.accuracy, point.trial_number) for trial in measured for point in trial.points
    )
    front: list[tuple[int, float, float]] = []
    for cost, loss, number in points:
        if not front or -loss > front[-1][1]:
            front.append((number, -loss, cost))
    return front
