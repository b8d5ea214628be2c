"""Records from the JSON that the database and files keep of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter

REFUSE_UNKNOWN = ConfigDict(extra="forbid")
"""For `with_config` of a stored dataclass."""

Record = TypeVar("Record")


def from_json(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """The dataclass of which `dataclasses.asdict` and JSON made `values`; a field that is missing has its default.

    Raises pydantic's ValidationError where a field without a default is missing, unknown or of another type.
    """
    record: Record = _adapter(cast(Any, kind)).validate_python(values)
    return record


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
