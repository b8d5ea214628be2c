"""A mapping of a study file whose fields are those of a model, each a value or a distribution."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from spaces.allowed_values import make_rule
from spaces.blocks import FrozenModel
from spaces.distributions import Drawable, parse_drawable
from spaces.problems import InvalidValueError, Problem, drop_misspelt_missing, unknown_key


def parse_fields(
    entry: Mapping[str, object], model: type[FrozenModel], tag: str, defaults: Mapping[str, Drawable] | None = None
) -> dict[str, Drawable]:
    """The model's fields in `entry`, without its `tag` such as `type`. Raises InvalidValueError with all problems.

    Fields that are left out have their value in `defaults`, or the model's. A field that the model does not store
    where it has its default is then left out here, too.
    """
    fields = {name: field for name, field in model.model_fields.items() if name != tag}
    problems = [unknown_key((key,), [tag, *fields]) for key in entry if key != tag and key not in fields]
    drawables: dict[str, Drawable] = {}
    for name, field in fields.items():
        if name in entry:
            try:
                drawables[name] = parse_drawable(entry[name], make_rule(field))
            except InvalidValueError as error:
                problems += [problem.under((name,)) for problem in error.problems]
        elif defaults is not None and name in defaults:
            drawables[name] = defaults[name]
        elif field.exclude_if is None:
            try:
                drawables[name] = _default_of(field)
            except InvalidValueError as error:
                problems += [problem.under((name,)) for problem in error.problems]
    if problems:
        raise InvalidValueError(drop_misspelt_missing(problems))
    return {name: value for name, value in drawables.items() if not _is_unstored(fields[name], value)}


def _is_unstored(field: FieldInfo, value: Drawable) -> bool:
    """Whether it is a default that is the same study written out or left out."""
    return field.exclude_if is not None and bool(field.exclude_if(value))


def _default_of(field: FieldInfo) -> Drawable:
    if field.default is PydanticUndefined:
        raise InvalidValueError([Problem((), "missing", make_rule(field).allowed)])
    return field.default  # type: ignore[no-any-return]
