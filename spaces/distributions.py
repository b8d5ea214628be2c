"""What a study file may give for a field: one value, or a distribution that a trial draws from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from spaces.allowed_values import FieldRule
from spaces.problems import InvalidValueError, Problem, format_value, unknown_key

Scalar = None | bool | int | float | str


@dataclass(frozen=True)
class Choices:
    """One of these values; they have no order."""

    choices: tuple[Scalar, ...]


@dataclass(frozen=True)
class IntRange:
    """A whole number: low, low + step, ... high."""

    low: int
    high: int
    step: int


@dataclass(frozen=True)
class FloatRange:
    """A number from low to high, both included. With `log`, its logarithm is drawn uniformly."""

    low: float
    high: float
    log: bool


Distribution = Choices | IntRange | FloatRange


@dataclass(frozen=True)
class Shared:
    """A distribution that a trial draws from once, for all fields that name it `as` this."""

    name: str
    values: Distribution


Drawable = Scalar | Distribution | Shared


class SuggestingTrial(Protocol):
    """The part of Optuna's Trial that draws values."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar], /) -> Scalar:
        """One of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number from low to high."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from low to high."""


def draw(trial: SuggestingTrial, name: str, drawable: Drawable) -> Scalar:
    """The value itself, or the one that the trial draws under `name`."""
    match drawable:
        case Choices(choices):
            return trial.suggest_categorical(name, choices)
        case IntRange(low, high, step):
            return trial.suggest_int(name, low, high, step=step)
        case FloatRange(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Shared(shared_name, values):
            return draw(trial, shared_name, values)
    return drawable


def find_smallest(drawable: Drawable) -> Scalar:
    """The least value that can be drawn. Of choices that are not all numbers, the first."""
    match drawable:
        case Choices(choices):
            numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
            return min(numbers) if len(numbers) == len(choices) else choices[0]
        case IntRange(low) | FloatRange(low):
            return low
        case Shared(values=values):
            return find_smallest(values)
    return drawable


def parse_drawable(value: object, rule: FieldRule) -> Drawable:
    """A value or a distribution whose values all fit the rule. Raises InvalidValueError with those that do not."""
    if isinstance(value, dict):
        own = {key: item for key, item in value.items() if key != "as"}
        distribution = _check_values(_parse_distribution(own), own, rule)
        return distribution if "as" not in value else Shared(parse_shared_name(value["as"]), distribution)
    expected = rule.find_mismatch(value)
    if expected is None:
        return rule.convert(value)  # type: ignore[no-any-return]
    if isinstance(value, list) and value:
        expected += f", or a distribution such as {{choices: {format_value(value)}}}"
    raise InvalidValueError([Problem((), format_value(value), expected)])


_FORMS = "a value, {choices: [...]}, {int: [low, high], step: n} or {float: [low, high], log: true}"

_MAX_VALUES_CHECKED = 10_000

_LARGEST_BOUND = 1e15
"""Beyond it, floats no longer hold every whole number."""


def _parse_distribution(value: dict[str, object]) -> Distribution:
    kinds = [kind for kind in _PARSERS if kind in value]
    if len(kinds) != 1:
        unknown = [unknown_key((key,), _PARSERS) for key in value if not kinds]
        raise InvalidValueError(unknown or [Problem((), format_value(value), _FORMS)])
    parse, options = _PARSERS[kinds[0]]
    unknown = [unknown_key((key,), [kinds[0], *options, "as"]) for key in value if key not in (kinds[0], *options)]
    if unknown:
        raise InvalidValueError(unknown)
    return parse(value)


def parse_shared_name(name: object) -> str:
    """The name that fields share. Raises InvalidValueError where it is none."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        expected = "a name of up to 32 lower-case letters, digits and _, a letter first, such as bits"
        raise InvalidValueError([Problem(("as",), format_value(name), expected)])
    return name


def _parse_choices(value: dict[str, object]) -> Choices:
    choices = value["choices"]
    if not isinstance(choices, list):
        raise InvalidValueError([Problem(("choices",), format_value(choices), "a list of values")])
    if not choices:
        raise InvalidValueError([Problem(("choices",), "empty", "at least one value")])
    repeated = [
        Problem(("choices", index), format_value(choice), "each value once")
        for index, choice in enumerate(choices)
        if any(choice == earlier and type(choice) is type(earlier) for earlier in choices[:index])
    ]
    if repeated:
        raise InvalidValueError(repeated)
    return Choices(tuple(choices))


def _parse_int_range(value: dict[str, object]) -> IntRange:
    low, high = _parse_bounds(value["int"], "int", (int,), "two whole numbers, [low, high]")
    step = value.get("step", 1)
    if not isinstance(step, int) or isinstance(step, bool) or step < 1:
        raise InvalidValueError([Problem(("step",), format_value(step), "a whole number of at least 1")])
    if (high - low) % step:
        below = high - (high - low) % step
        expected = f"low plus a multiple of step as high, such as {below} or {below + step}"
        raise InvalidValueError([Problem((), format_value(value), expected)])
    return IntRange(int(low), int(high), step)


def _parse_float_range(value: dict[str, object]) -> FloatRange:
    low, high = _parse_bounds(value["float"], "float", (int, float), "two numbers, [low, high]")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise InvalidValueError([Problem(("log",), format_value(log), "true or false")])
    if log and low <= 0:
        raise InvalidValueError([Problem(("float", 0), format_value(low), "a number above 0, for log is true")])
    return FloatRange(float(low), float(high), log)


def _parse_bounds(bounds: object, kind: str, types: tuple[type, ...], expected: str) -> tuple[Any, Any]:
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise InvalidValueError([Problem((kind,), format_value(bounds), expected)])
    rules = [_find_bound_mismatch(bound, types) for bound in bounds]
    wrong = [Problem((kind, i), format_value(bounds[i]), rule) for i, rule in enumerate(rules) if rule is not None]
    if wrong:
        raise InvalidValueError(wrong)
    low, high = bounds
    if not low <= high:
        raise InvalidValueError([Problem((kind,), format_value(bounds), "low first, then high")])
    return low, high


def _find_bound_mismatch(bound: Any, types: tuple[type, ...]) -> str | None:
    if type(bound) not in types:
        return "a whole number" if types == (int,) else "a number"
    return None if -_LARGEST_BOUND <= bound <= _LARGEST_BOUND else f"at most {_LARGEST_BOUND:.0e} either way"


_PARSERS: dict[str, tuple[Callable[[dict[str, object]], Distribution], tuple[str, ...]]] = {
    "choices": (_parse_choices, ()),
    "int": (_parse_int_range, ("step",)),
    "float": (_parse_float_range, ("log",)),
}


def _check_values(distribution: Distribution, given: dict[str, object], rule: FieldRule) -> Distribution:
    match distribution:
        case Choices(choices):
            _raise_mismatches([("choices", index) for index in range(len(choices))], choices, rule)
            return Choices(tuple(rule.convert(choice) for choice in choices))
        case FloatRange():
            _check_float_bounds(distribution, given, rule)
        case IntRange():
            _check_int_values(distribution, given, rule)
    return distribution


def _check_int_values(distribution: IntRange, given: dict[str, object], rule: FieldRule) -> None:
    low, high, step = distribution.low, distribution.high, distribution.step
    inner = range(low + step, high, step)[:_MAX_VALUES_CHECKED]
    unfit = [value for value in inner if rule.find_mismatch(value) is not None]
    both_ends_fit = rule.find_mismatch(low) is None and rule.find_mismatch(high) is None
    if unfit and (both_ends_fit or len(unfit) < len(inner)):
        problem = Problem((), f"{format_value(given)}, which can give {unfit[0]}", str(rule.find_mismatch(unfit[0])))
        raise InvalidValueError([problem])
    _raise_mismatches([("int", 0), ("int", 1)], (low, high), rule)


def _check_float_bounds(distribution: FloatRange, given: dict[str, object], rule: FieldRule) -> None:
    mismatches = [rule.find_mismatch(distribution.low), rule.find_mismatch(distribution.high)]
    if mismatches[0] is not None and mismatches[1] is not None:
        raise InvalidValueError([Problem((), format_value(given), mismatches[0])])
    _raise_mismatches([("float", 0), ("float", 1)], (distribution.low, distribution.high), rule)


def _raise_mismatches(paths: Sequence[tuple[str, int]], values: Sequence[Scalar], rule: FieldRule) -> None:
    mismatches = [(path, value, rule.find_mismatch(value)) for path, value in zip(paths, values, strict=True)]
    problems = [Problem(path, format_value(value), text) for path, value, text in mismatches if text is not None]
    if problems:
        raise InvalidValueError(problems)
