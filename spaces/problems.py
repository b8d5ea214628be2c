"""What is wrong with values from outside. Each problem is one line: path is VALUE; expected ALLOWED."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from spaces.allowed_values import field_at, model_at, name_allowed, state_expected

Path = tuple[str | int, ...]

_MAX_VALUE_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """One wrong value: where it is, what was given, what is allowed."""

    path: Path
    given: str
    expected: str

    def under(self, path: Path) -> Problem:
        """The same problem, seen from the mapping that holds it at `path`."""
        return replace(self, path=(*path, *self.path))

    def __str__(self) -> str:
        return f"{format_path(self.path)} is {self.given}; expected {self.expected}"


class InvalidValueError(ValueError):
    """The problems of one value; their paths are relative to it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def list_problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """All problems that pydantic found in a value for `model`, in this project's words."""
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        path: Path = details["loc"]
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, InvalidValueError):
            problems += [problem.under(path) for problem in cause.problems]
        elif details["type"] == "extra_forbidden":
            problems.append(unknown_key(path, model_at(model, path[:-1]).model_fields))
        elif details["type"] == "literal_error":
            names = [str(name) for name in get_args(field_at(model, path).annotation)]
            problems.append(Problem(path, format_value(details["input"]), one_of(names, details["input"])))
        elif details["type"] == "missing":
            problems.append(Problem(path, "missing", name_allowed(field_at(model, path))))
        else:
            expected = state_expected(details, field_at(model, path))
            problems.append(Problem(path, format_value(details["input"]), expected))
    return drop_misspelt_missing(problems)


def unknown_key(path: Path, known: Iterable[str]) -> Problem:
    """A key that nobody reads. The problem names the closest known one."""
    return Problem(path, "an unknown key", one_of(list(known), path[-1]))


def one_of(names: Sequence[str], given: object) -> str:
    """`one of a, b, c`, and `did you mean b?` where `given` is close to one of them."""
    if len(names) < 2:
        return names[0] if names else "no key"
    closest = find_closest(names, given)
    return f"one of {', '.join(names)}" + (f" (did you mean {closest}?)" if closest else "")


def find_closest(names: Iterable[str], given: object) -> str | None:
    """The name that is closest to `given`; None where none is close."""
    by_lower = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(str(given).lower(), by_lower, n=1) if isinstance(given, str) else []
    return by_lower[matches[0]] if matches else None


def drop_misspelt_missing(problems: Iterable[Problem]) -> list[Problem]:
    """Drops `x is missing` where the same mapping has a misspelt x, for that is reported anyway."""
    problems = list(problems)
    missing_names = [str(p.path[-1]) for p in problems if p.given == "missing" and p.path]
    unknown = [p.path for p in problems if p.given == "an unknown key"]
    misspelt = {(*path[:-1], find_closest(missing_names, path[-1])) for path in unknown}
    return [p for p in problems if p.given != "missing" or p.path not in misspelt]


def format_path(path: Path) -> str:
    """`("space", "blocks", 2, "stride")` as `space.blocks[2].stride`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def format_value(value: object) -> str:
    """The value as YAML has it, on one line, shortened if it is long. Nothing at all is `empty`."""
    if value is None or value in ("", [], {}):
        return "empty"
    if isinstance(value, str):
        return _shorten(json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool | int | float):
        return _shorten(str(value).lower())
    return _shorten(_dump_flow(value))


def _dump_flow(value: Any) -> str:
    try:
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    except yaml.YAMLError:
        return str(value)
    return " ".join(text.removesuffix("\n...\n").split())


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_VALUE_CHARACTERS else text[: _MAX_VALUE_CHARACTERS - 4] + " ..."
