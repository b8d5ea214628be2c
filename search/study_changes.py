"""What is another in a study file than in that with which its study was started."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from spaces.study_config import ConfigError, StudyConfig, parse_study_config

MOST_NAMED = 3

_PLACES = {
    "epochs": "budget.epochs",
    "seed": "study.seed",
    "sampler": "study.sampler",
    "candidates": "study.candidates",
    "inherits": "study.inherits",
}
"""Where in the file those values stand that lie elsewhere in `StudyConfig.deciding_content`."""


def describe_changes(config: StudyConfig, started_with: str) -> str:
    """In one sentence, which settings differ from those of the text that the study was started with."""
    try:
        before = parse_study_config(started_with, "the study").deciding_content
    except ConfigError:
        return "its file was of another version of this program"
    then, now = dict(flatten_values(before)), dict(flatten_values(config.deciding_content))
    changes = [
        f"{place} is {_show(now, place)}, it was {_show(then, place)}"
        for place in sorted(then.keys() | now.keys())
        if then.get(place) != now.get(place)
    ]
    if not changes:
        return "an earlier version of this program read the same file otherwise"
    more = len(changes) - MOST_NAMED
    return "; ".join(changes[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def flatten_values(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Each plain value with its path in the study file."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            own = f"{path}.{name}" if path else _PLACES.get(name, str(name))
            own = own.removesuffix(".fields")  # of a block
            yield from flatten_values(inner, own)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from flatten_values(item, f"{path}[{index}]")
    else:
        yield path, value


def _show(values: Mapping[str, object], place: str) -> str:
    return json.dumps(values[place]) if place in values else "not set"
