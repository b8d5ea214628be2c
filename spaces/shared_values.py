"""Values that several fields share: `{choices: [4, 8], as: bits}` is drawn once for all that have the same name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spaces.block_space import BlockEntry, BlockSpace, OneOfSpace, ParallelSpace, RepeatSpace
from spaces.distributions import Choices, Drawable, Shared
from spaces.search_space import SearchSpace


def find_conflict(space: SearchSpace) -> str | None:
    """A name that has two ranges; None where each has one."""
    of_training = (value for _, value in space.training)
    of_stages = (value for stage in space.pruning.stages for value in stage.fields.values())
    first: dict[str, object] = {}
    for drawable in (*_list_drawables(space.space.blocks), *of_training, *of_stages):
        if isinstance(drawable, Shared) and first.setdefault(drawable.name, drawable.values) != drawable.values:
            return drawable.name
    return None


def _list_drawables(entries: Iterable[BlockEntry]) -> Iterator[Drawable]:
    """Those of all variants and repetitions."""
    for entry in entries:
        match entry:
            case BlockSpace():
                yield from entry.fields.values()
            case RepeatSpace():
                yield entry.repeat
                yield from _list_drawables(entry.blocks)
            case ParallelSpace():
                for branch in entry.branches:
                    yield from _list_drawables(branch)
            case OneOfSpace():
                if entry.name is not None:
                    yield Shared(entry.name, Choices(tuple(entry.one_of)))
                for blocks in entry.one_of.values():
                    yield from _list_drawables(blocks)
