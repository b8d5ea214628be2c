"""What a field of a pydantic model allows, in words and as a check of one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class FieldRule:
    """What one field allows, in words and as a check. Inside Annotated it describes a field that takes ranges."""

    allowed: str
    adapter: TypeAdapter[Any]

    def find_mismatch(self, value: object) -> str | None:
        """What is expected instead of `value`; None where it fits."""
        try:
            self.adapter.validate_python(value)
        except ValidationError as error:
            return state_expected(error.errors(include_url=False)[0], self.allowed)
        return None

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """For editors: such a value, or a distribution of such values."""
        return self.json_schema()

    def json_schema(self) -> dict[str, Any]:
        """JSON schema of such a value, or of a distribution of such values."""
        value = self.adapter.json_schema()
        shared = {"as": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"}}
        forms: list[dict[str, Any]] = [
            {"properties": {"choices": {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}}}
        ]
        kinds = {part.get("type") for part in value.get("anyOf", [value])}
        if kinds & {"integer", "number"}:
            bounds = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
            forms.append({"properties": {"int": bounds, "step": {"type": "integer", "minimum": 1}}})
        if "number" in kinds:
            bounds = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
            forms.append({"properties": {"float": bounds, "log": {"type": "boolean"}}})
        for form in forms:
            required = next(iter(form["properties"]))
            form |= {"type": "object", "required": [required], "additionalProperties": False}
            form["properties"] |= shared
        return {"anyOf": [value, *forms]}

    def convert(self, value: object) -> Any:
        """The value in the field's type: 1 becomes 1.0 in a field of floats."""
        return self.adapter.validate_python(value)


def make_rule(field: FieldInfo | Any) -> FieldRule:
    """The rule of a model's field, or of an annotation alone."""
    config = ConfigDict(strict=True, allow_inf_nan=False)
    return FieldRule(name_allowed(field), TypeAdapter(_annotation_of(field), config=config))


def state_expected(details: Mapping[str, Any], field: FieldInfo | Any | str) -> str:
    """What one of pydantic's errors says is expected: a validator's own words, else all that the field allows."""
    cause = details.get("ctx", {}).get("error")
    if details["type"] == "value_error" and cause is not None:
        return str(cause).removeprefix("expected ")
    if details["type"] == "finite_number":
        return "a finite number"
    return field if isinstance(field, str) else name_allowed(field)


def name_allowed(field: FieldInfo | Any) -> str:
    """All that a field or an annotation allows, such as `a whole number from 1 to 16, or empty`."""
    if isinstance(field, FieldInfo) and field.description is not None:
        return field.description
    return _name_annotation(_annotation_of(field), ())


def field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | Any:
    """The field, or the item type of a list, at a path through nested models."""
    field: FieldInfo | Any = model
    for part in path:
        field = _item_type(field) if isinstance(part, int) else _model_of(field).model_fields[part]
    return field


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The model at a path through nested models."""
    return _model_of(field_at(model, path))


def _annotation_of(field: FieldInfo | Any) -> Any:
    if not isinstance(field, FieldInfo):
        return field
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _model_of(field: FieldInfo | Any) -> type[BaseModel]:
    model = _bare(_annotation_of(field))
    if isinstance(model, UnionType):  # a mapping, or nothing
        model = get_args(model)[0]
    assert isinstance(model, type)
    assert issubclass(model, BaseModel), "a path of names leads through models only"
    return model


def _item_type(field: FieldInfo | Any) -> Any:
    return get_args(_bare(_annotation_of(field)))[0]


def _name_annotation(annotation: Any, metadata: tuple[Any, ...]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name_annotation(arguments[0], (*arguments[1:], *metadata))
    described = next(filter(None, map(_name_metadata, metadata)), None)
    if described is not None:
        return described
    if origin in (Union, UnionType):
        return ", or ".join(_name_annotation(argument, metadata) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
    if origin is tuple:
        return "a list"
    return _name_type(annotation) + _name_bounds(metadata)


def _name_type(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a mapping with the keys {', '.join(annotation.model_fields)}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "empty"}
    return names[annotation]


def _name_metadata(item: Any) -> str | None:
    if isinstance(item, FieldRule):
        return f"{item.allowed}, or a distribution of such values"
    return item.description if isinstance(item, FieldInfo) else None


def _flatten(metadata: tuple[Any, ...]) -> list[Any]:
    return [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _name_bounds(metadata: tuple[Any, ...]) -> str:
    bounds = {
        type(item): getattr(item, type(item).__name__.lower())
        for item in _flatten(metadata)
        if isinstance(item, Ge | Gt | Le | Lt)
    }
    if Ge in bounds and Le in bounds:
        return f" from {bounds[Ge]} to {bounds[Le]}"
    words = {Ge: "of at least", Gt: "above", Le: "at most", Lt: "below"}
    return "".join(
        f"{' and' if index else ''} {word} {bounds[kind]}"
        for index, (kind, word) in enumerate((k, w) for k, w in words.items() if k in bounds)
    )
