"""How many designs a search space has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from spaces.block_space import BlockEntry, OneOfSpace, ParallelSpace, RepeatSpace
from spaces.distributions import Choices, Drawable, FloatRange, IntRange, Shared
from spaces.search_space import SearchSpace


@dataclass(frozen=True)
class SpaceSize:
    """Combinations of values at most: some may not fit together, and some may be the same network."""

    combinations: int
    """Of choices and whole numbers."""
    n_continuous: int
    """Ranges of fractions that a design may draw from besides."""


def count_designs(space: SearchSpace) -> SpaceSize:
    """Values that fields share are counted once, as if every design drew them."""
    counter = _Counter()
    parts = [counter.count_blocks(space.space.blocks)]
    parts += [counter.count(value) for _, value in space.training]
    parts += [counter.count(value) for stage in space.pruning.stages for value in stage.fields.values()]
    return SpaceSize(math.prod(parts) * math.prod(counter.shared.values()), counter.n_continuous)


class _Counter:
    """Counts shared values apart."""

    def __init__(self) -> None:
        self.n_continuous = 0
        self.shared: dict[str, int] = {}

    def count(self, drawable: Drawable) -> int:
        match drawable:
            case Choices(choices):
                return len(choices)
            case IntRange(low, high, step):
                return (high - low) // step + 1
            case FloatRange():
                self.n_continuous += 1
            case Shared(name, values) if name not in self.shared:
                self.shared[name] = self.count(values)
        return 1

    def count_blocks(self, entries: Iterable[BlockEntry]) -> int:
        return math.prod(self._count_entry(entry) for entry in entries)

    def _count_entry(self, entry: BlockEntry) -> int:
        match entry:
            case RepeatSpace():
                return self._count_repeats(entry)
            case OneOfSpace():
                counts = [self.count_blocks(blocks) for blocks in entry.one_of.values()]
                if entry.name is None:
                    return sum(counts)
                self.shared[entry.name] = len(counts)
                return max(counts)
            case ParallelSpace():
                return math.prod(self.count_blocks(branch) for branch in entry.branches)
        return math.prod(self.count(drawable) for drawable in entry.fields.values())

    def _count_repeats(self, entry: RepeatSpace) -> int:
        """Each time draws its own values. Where groups share their number of times, the most of them counts."""
        once = self.count_blocks(entry.blocks)
        times = _list_values(entry.repeat)
        if isinstance(entry.repeat, Shared):
            self.shared[entry.repeat.name] = len(times)
            return int(once ** max(times))
        return sum(once**n for n in times)


def _list_values(drawable: Drawable) -> list[int]:
    match drawable:
        case Shared(values=values):
            return _list_values(values)
        case Choices(choices):
            return [choice for choice in choices if isinstance(choice, int)]
        case IntRange(low, high, step):
            return list(range(low, high + 1, step))
    assert isinstance(drawable, int), "checked by the rule of repeat"
    return [drawable]
