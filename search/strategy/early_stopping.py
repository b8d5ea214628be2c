"""Which trials go on: asynchronous successive halving for several objectives.

A trial climbs rungs, epochs of its own full schedule. At each it is compared with all trials that reached that rung so
far, by accuracy and cost as they are there. It goes on if it is on their front, or among the best part of them.
Sources: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020; Schmucker et al.,
"Multi-objective Asynchronous Successive Halving", 2021.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from search.pareto import crowding_distances, rank_fronts
from spaces.metrics import Direction
from spaces.search_space import Design
from spaces.study_config import EarlyStoppingPart, StudyConfig
from storage.database import Database
from storage.records import Rung, RungResult
from storage.rungs import load_rungs, record_rung

DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")


class EarlyStopping:
    """The rungs of one study: which trials reached them, and who goes on. All of it is in the database, too."""

    def __init__(self, database: Database, config: StudyConfig) -> None:
        self._database, self._part = database, config.early_stopping
        self._by_rung: dict[int, list[RungResult]] = defaultdict(list)
        self._last: dict[int, RungResult] = {}
        for result in load_rungs(database, config.study.name):
            self._add(result)

    def find_next(self, trial_number: int, design: Design) -> Rung | None:
        """The rung up to which the trial trains next; None: it trains to its end."""
        if self._part is None:
            return None
        last = self._last.get(trial_number)
        rungs = list_rungs(design.n_epochs, self._part)[0 if last is None else last.rung + 1 :]
        return Rung(0 if last is None else last.rung + 1, rungs[0]) if rungs else None

    def find_stop(self, trial_number: int) -> str | None:
        """Why an earlier decision stopped the trial, in one line; None where it goes on."""
        last = self._last.get(trial_number)
        return None if last is None or not last.is_stopped else self._describe_stop(last)

    def settle(self, result: RungResult) -> None:
        """Decides whether the trial goes on, and keeps the decision."""
        assert self._part is not None
        others = [other for other in self._by_rung[result.rung] if other.trial_number != result.trial_number]
        decided = replace(result, is_stopped=not goes_on(result, others, self._part.kept))
        record_rung(self._database, decided)
        self._add(decided)

    def _add(self, result: RungResult) -> None:
        self._by_rung[result.rung].append(result)
        self._last[result.trial_number] = result

    def _describe_stop(self, result: RungResult) -> str:
        assert self._part is not None
        return (
            f"{result.accuracy:.2%} at inference cost {result.inference_cost:.5f} after {result.epoch} epochs is not "
            f"among the best {self._part.kept:.0%} of the {len(self._by_rung[result.rung])} trials that came so far"
        )


def list_rungs(n_epochs: int, part: EarlyStoppingPart) -> tuple[int, ...]:
    """The rungs as epochs of a trial of so many epochs, rising; the end of the trial is none of them.

    Each takes 1 / kept times the epochs of the one before.
    """
    rungs: list[int] = []
    fraction = part.first_rung
    while (epoch := max(round(fraction * n_epochs), 1)) < n_epochs:
        rungs.append(epoch)
        fraction /= part.kept
    return tuple(dict.fromkeys(rungs))


def goes_on(own: RungResult, others: Sequence[RungResult], kept: float) -> bool:
    """Whether a trial continues from its rung; `others` are those that reached the same rung, in any order.

    Yes where no other is better in accuracy and cost, and where the trial is among the best `kept` of all: first by
    the front that it is on, then by how far its neighbours on that front are.
    """
    results = [*others, own]
    points = [(result.accuracy, result.inference_cost) for result in results]
    ranks = rank_fronts(points, DIRECTIONS)
    rank = ranks[-1]
    if rank == 0:
        return True
    n_better = sum(other < rank for other in ranks)
    same = [index for index, other in enumerate(ranks) if other == rank]
    distances = crowding_distances([points[index] for index in same])
    n_better += sum(distance > distances[-1] for distance in distances[:-1])
    return n_better < math.ceil(kept * len(results))
