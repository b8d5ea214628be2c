"""Values that several fields share: `{choices: [4, 8], as: bits}` is drawn once for all that have the same name."""

from __future__ import annotations

from collections.abc import Sequence

from spaces.block_space import draw_blocks
from spaces.distributions import Scalar
from spaces.search_space import SearchSpace
from spaces.stage_space import draw_stages


def find_conflict(space: SearchSpace) -> str | None:
    """Two ranges of one name, in words; None where each name has one. Draws as many repetitions as there can be."""
    trial = _RecordingTrial()
    draw_blocks(space.space.blocks, trial, "space.blocks")
    space.suggest_training(trial)
    draw_stages(space.pruning.stages, trial, "pruning.stages")
    return trial.conflict


class _RecordingTrial:
    """Draws the largest value of each range, and remembers the ranges."""

    def __init__(self) -> None:
        self.conflict: str | None = None
        self._ranges: dict[str, str] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        self._record(name, f"choices {', '.join(map(str, choices))}")
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self._record(name, f"int {low} to {high}, step {step}")
        return high

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self._record(name, f"float {low:g} to {high:g}{', log' if log else ''}")
        return high

    def _record(self, name: str, values: str) -> None:
        first = self._ranges.setdefault(name, values)
        if values != first:
            self.conflict = f"{name}: {values}; and {first}"
