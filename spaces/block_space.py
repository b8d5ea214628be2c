"""`space.blocks` of a study: blocks whose fields may be distributions, and groups that repeat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated

from pydantic import Field

from spaces.allowed_values import make_rule
from spaces.blocks import BLOCK_TYPES, FrozenModel, Parallel
from spaces.distributions import (
    Distribution,
    Drawable,
    Shared,
    SuggestingTrial,
    draw,
    find_smallest,
    parse_drawable,
    parse_shared_name,
)
from spaces.drawable_fields import parse_fields
from spaces.problems import (
    InvalidValueError,
    Path,
    Problem,
    drop_misspelt_missing,
    format_value,
    one_of,
    unknown_key,
)


@dataclass(frozen=True)
class BlockSpace:
    """One block; each of its fields is a value or a distribution."""

    type: str
    fields: Mapping[str, Drawable]


@dataclass(frozen=True)
class RepeatSpace:
    """A group of blocks, `repeat` times in a row. Each time draws its own values."""

    repeat: Drawable
    blocks: tuple[BlockEntry, ...]


@dataclass(frozen=True)
class ParallelSpace:
    """Branches side by side; each draws its own values."""

    branches: tuple[tuple[BlockEntry, ...], ...]
    type: str = "parallel"


@dataclass(frozen=True)
class OneOfSpace:
    """One of several lists of blocks, which have names."""

    one_of: Mapping[str, tuple[BlockEntry, ...]]
    """Of which one may be empty."""
    name: str | None = None
    """Under which the choice is drawn; None: under its path."""


BlockEntry = BlockSpace | RepeatSpace | ParallelSpace | OneOfSpace


@dataclass(frozen=True)
class DrawnBlock:
    """One block with no choice left, and the path of its entry in the study file."""

    path: str
    block: FrozenModel


def draw_blocks(entries: Iterable[BlockEntry], trial: SuggestingTrial, path: str) -> list[DrawnBlock]:
    """The blocks in order, groups unrolled. Each value is drawn under its path, such as `path[1].stride`."""
    drawn: list[DrawnBlock] = []
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        if isinstance(entry, RepeatSpace):
            n_times = draw(trial, f"{place}.repeat", entry.repeat)
            assert isinstance(n_times, int), "checked by the rule of repeat"
            for time in range(n_times):
                drawn += draw_blocks(entry.blocks, trial, f"{place}.times[{time}].blocks")
        elif isinstance(entry, OneOfSpace):
            name = trial.suggest_categorical(entry.name or f"{place}.one_of", tuple(entry.one_of))
            drawn += draw_blocks(entry.one_of[str(name)], trial, f"{place}.one_of.{name}")
        elif isinstance(entry, ParallelSpace):
            rows = [draw_blocks(row, trial, f"{place}.branches[{n}]") for n, row in enumerate(entry.branches)]
            branches = tuple(tuple(inner.block for inner in row) for row in rows)
            drawn.append(DrawnBlock(place, Parallel.model_validate({"branches": branches})))
        else:
            values = {name: draw(trial, f"{place}.{name}", drawable) for name, drawable in entry.fields.items()}
            drawn.append(DrawnBlock(place, BLOCK_TYPES[entry.type].model_validate(values)))
    return drawn


def has_parallel(entries: Iterable[BlockEntry]) -> bool:
    """Whether some network of the space has parallel branches."""
    for entry in entries:
        inner = entry.one_of.values() if isinstance(entry, OneOfSpace) else ()
        rows = (entry.blocks,) if isinstance(entry, RepeatSpace) else inner
        if isinstance(entry, ParallelSpace) or any(has_parallel(row) for row in rows):
            return True
    return False


def list_range_fields(entries: Iterable[BlockEntry]) -> Iterator[str]:
    """The field of each range, or its shared name; those of all variants."""
    for entry in entries:
        match entry:
            case RepeatSpace():
                yield from _name_ranges({"repeat": entry.repeat})
                yield from list_range_fields(entry.blocks)
            case OneOfSpace():
                yield entry.name or "one_of"
                for blocks in entry.one_of.values():
                    yield from list_range_fields(blocks)
            case ParallelSpace():
                for branch in entry.branches:
                    yield from list_range_fields(branch)
            case BlockSpace():
                yield from _name_ranges(entry.fields)


def _name_ranges(fields: Mapping[str, Drawable]) -> Iterator[str]:
    for name, drawable in fields.items():
        if isinstance(drawable, Shared):
            yield drawable.name
        elif isinstance(drawable, Distribution):
            yield name


def find_smallest_stride_product(entries: Iterable[BlockEntry]) -> int:
    """The least product of all strides and pool sizes that any draw can have."""
    return prod(_find_smallest_stride(entry) for entry in entries)


def parse_blocks(value: object) -> tuple[BlockEntry, ...]:
    """The blocks of a study file. Raises InvalidValueError with all problems of all blocks."""
    if not isinstance(value, list) or not value:
        raise InvalidValueError([Problem((), format_value(value), "a list of at least one block")])
    entries: list[BlockEntry] = []
    problems: list[Problem] = []
    for index, entry in enumerate(value):
        try:
            entries.append(_parse_entry(entry))
        except InvalidValueError as error:
            problems += [problem.under((index,)) for problem in error.problems]
    if problems:
        raise InvalidValueError(problems)
    return tuple(entries)


REPEAT_RULE = make_rule(Annotated[int, Field(ge=0, le=64)])


def _find_smallest_stride(entry: BlockEntry) -> int:
    if isinstance(entry, RepeatSpace):
        n_times = find_smallest(entry.repeat)
        assert isinstance(n_times, int), "checked by the rule of repeat"
        return int(find_smallest_stride_product(entry.blocks) ** n_times)
    if isinstance(entry, OneOfSpace):
        return min(find_smallest_stride_product(blocks) for blocks in entry.one_of.values())
    if isinstance(entry, ParallelSpace):
        return max(find_smallest_stride_product(branch) for branch in entry.branches)
    stride = find_smallest(entry.fields.get("kernel_size" if entry.type == "max_pool" else "stride", 1))
    assert isinstance(stride, int), "checked by the rule of strides and pool sizes"
    return stride


def _parse_entry(entry: object) -> BlockEntry:
    if not isinstance(entry, dict):
        hint = f"{{type: {entry}}}, or one " if isinstance(entry, str) and entry in BLOCK_TYPES else ""
        expected = f"a mapping, {hint}with type and its fields, with repeat and blocks, or with one_of"
        raise InvalidValueError([Problem((), format_value(entry), expected)])
    if "one_of" in entry:
        return _parse_one_of(entry)
    return _parse_repeat(entry) if "repeat" in entry else _parse_block(entry)


def _parse_repeat(entry: Mapping[str, object]) -> RepeatSpace:
    problems = [unknown_key((key,), ["repeat", "blocks"]) for key in entry if key not in ("repeat", "blocks")]
    repeat: Drawable = None
    blocks: tuple[BlockEntry, ...] = ()
    try:
        repeat = parse_drawable(entry["repeat"], REPEAT_RULE)
    except InvalidValueError as error:
        problems += [problem.under(("repeat",)) for problem in error.problems]
    try:
        blocks = _parse_repeated_blocks(entry)
    except InvalidValueError as error:
        problems += [problem.under(("blocks",)) for problem in error.problems]
    if problems:
        raise InvalidValueError(drop_misspelt_missing(problems))
    return RepeatSpace(repeat, blocks)


def _parse_repeated_blocks(entry: Mapping[str, object]) -> tuple[BlockEntry, ...]:
    if "blocks" not in entry:
        raise InvalidValueError([Problem((), "missing", "a list of at least one block")])
    return parse_blocks(entry["blocks"])


def _parse_one_of(entry: Mapping[str, object]) -> OneOfSpace:
    problems = [unknown_key((key,), ["one_of", "as"]) for key in entry if key not in ("one_of", "as")]
    given = entry["one_of"]
    if not isinstance(given, dict) or not given or not all(isinstance(name, str) for name in given):
        expected = "a mapping of names to lists of blocks"
        raise InvalidValueError([*problems, Problem(("one_of",), format_value(given), expected)])
    variants: dict[str, tuple[BlockEntry, ...]] = {}
    for name, blocks in given.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            expected = "a name of 1 to 64 letters, digits, _ or -"
            problems.append(Problem(("one_of",), format_value(name), expected))
            continue
        try:
            variants[name] = () if blocks == [] else parse_blocks(blocks)
        except InvalidValueError as error:
            problems += [problem.under(("one_of", name)) for problem in error.problems]
    try:
        shared_name = parse_shared_name(entry["as"]) if "as" in entry else None
    except InvalidValueError as error:
        problems += error.problems
    if problems:
        raise InvalidValueError(problems)
    return OneOfSpace(variants, shared_name)


def _parse_parallel(entry: Mapping[str, object]) -> ParallelSpace:
    problems = [unknown_key((key,), ["type", "branches"]) for key in entry if key not in ("type", "branches")]
    given = entry.get("branches")
    if not isinstance(given, list) or len(given) < 2:
        shown = format_value(given) if "branches" in entry else "missing"
        problems.append(Problem(("branches",), shown, "a list of at least two branches, each a list of blocks"))
        raise InvalidValueError(drop_misspelt_missing(problems))
    branches: list[tuple[BlockEntry, ...]] = []
    for number, branch in enumerate(given):
        try:
            branches.append(parse_blocks(branch))
        except InvalidValueError as error:
            problems += [problem.under(("branches", number)) for problem in error.problems]
    if problems:
        raise InvalidValueError(problems)
    return ParallelSpace(tuple(branches))


def _parse_block(entry: Mapping[str, object]) -> BlockSpace | ParallelSpace:
    type_name = entry.get("type")
    if not isinstance(type_name, str) or type_name not in BLOCK_TYPES:
        raise InvalidValueError(_list_type_problems(entry))
    if type_name == "parallel":
        return _parse_parallel(entry)
    return BlockSpace(type_name, parse_fields(entry, BLOCK_TYPES[type_name], "type"))


def _list_type_problems(entry: Mapping[str, object]) -> list[Problem]:
    path: Path = ("type",)
    given = entry.get("type")
    problem = Problem(path, format_value(given) if "type" in entry else "missing", one_of(list(BLOCK_TYPES), given))
    unknown = [unknown_key((key,), ["type", "repeat", "one_of"]) for key in entry if "type" not in entry]
    misspelt = [u for u in unknown if "did you mean" in u.expected]
    return misspelt or [problem]
