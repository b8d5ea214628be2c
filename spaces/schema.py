"""The JSON schema of study files and the reference of their keys: `python -m spaces.schema` writes both anew.

An editor that knows the schema completes keys and marks mistakes. What several keys must be together, it does not say:
`search.run` checks that, too.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from spaces.allowed_values import make_rule, name_allowed
from spaces.block_space import REPEAT_RULE
from spaces.blocks import BLOCK_TYPES
from spaces.distributions import Choices, FloatRange, IntRange
from spaces.known_designs import KNOWN_ARCHITECTURES
from spaces.papers import PAPER_TABLES
from spaces.pruning_stages import STAGE_KINDS
from spaces.search_space import TrainingPart
from spaces.study_config import StudyFile

FOLDER = Path(__file__).parent
SCHEMA_FILE, REFERENCE_FILE = FOLDER / "study.schema.json", FOLDER / "KEYS.md"

FIRST_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE.name}"
"""Of each study file: editors with a YAML language server find the schema by it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both files, by rename."""
    argparse.ArgumentParser(
        prog="python -m spaces.schema",
        description="Writes the JSON schema of study files, and the reference of their keys.",
        allow_abbrev=False,
    ).parse_args(arguments)
    for path, text in ((SCHEMA_FILE, schema_text()), (REFERENCE_FILE, reference_text())):
        unfinished = path.with_name(f".unfinished-{path.name}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    return 0


def schema_text() -> str:
    """The schema as JSON."""
    return json.dumps(make_schema(), indent=1) + "\n"


def make_schema() -> dict[str, Any]:
    """The schema of a study file, from the models that read it."""
    schema = StudyFile.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    _describe_all(schema, definitions)
    del definitions["TrainingPart"]["required"]  # what is left out depends on the schedule
    definitions["SpacePart"]["properties"]["blocks"] = {"$ref": "#/$defs/Blocks"}
    definitions["Blocks"] = {"type": "array", "items": {"$ref": "#/$defs/Entry"}, "minItems": 1}
    definitions["Entry"] = {"anyOf": [*map(_block_schema, BLOCK_TYPES), *_group_schemas()]}
    stages = {"type": "array", "items": {"anyOf": [_stage_schema(kind) for kind in STAGE_KINDS]}}
    definitions["PruningPart"]["properties"]["stages"] = stages
    definitions["WarmStartPart"]["properties"]["designs"] = {"type": "array", "items": {"enum": [*KNOWN_ARCHITECTURES]}}
    schema["properties"]["paper"] = {"enum": [*PAPER_TABLES, None]}
    name = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}
    definitions["StudyPart"]["properties"]["name"] |= name
    draws = {"anyOf": [{"const": "pruning"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    definitions["CampaignStagePart"]["properties"]["draws"] = draws
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Study", **schema}


def reference_text() -> str:
    """All keys as Markdown: what each may be, what it is where it is left out, and what it means."""
    lines = ["# The keys of study files", "", "`python -m spaces.schema` writes this page from the code.", ""]
    for path, model in _list_models(StudyFile, ""):
        title = path or "Parts"
        lines += [f"## {title}", "", *_model_lines(model), ""]
    lines += ["## space.blocks", "", "Each entry is one of these, or a group:", ""]
    lines += ["- `repeat`, a number or a range, with `blocks`", "- `one_of`, a mapping of names to lists of blocks"]
    for name, model in BLOCK_TYPES.items():
        lines += ["", f"### type: {name}", "", *_model_lines(model, leave_out="type")]
    lines += ["", "## pruning.stages"]
    for name, model in STAGE_KINDS.items():
        lines += ["", f"### kind: {name}", "", *_model_lines(model, leave_out="kind")]
    return "\n".join(lines) + "\n"


def _describe_all(schema: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """Adds what the docstrings of the fields say."""
    for _, model in _list_models(StudyFile, ""):
        properties = schema["properties"] if model is StudyFile else definitions[model.__name__]["properties"]
        for field, text in _field_docs(model).items():
            if field in properties:
                properties[field]["description"] = text


def _block_schema(type_name: str) -> dict[str, Any]:
    if type_name == "parallel":
        branches = {"type": "array", "items": {"$ref": "#/$defs/Blocks"}, "minItems": 2}
        return _object({"type": {"const": "parallel"}, "branches": branches}, ["type", "branches"], "")
    return _tagged_schema("type", type_name, BLOCK_TYPES[type_name])


def _stage_schema(kind: str) -> dict[str, Any]:
    schema = _tagged_schema("kind", kind, STAGE_KINDS[kind])
    if kind == "threshold":
        schema["required"].remove("kind")
    return schema


def _tagged_schema(tag: str, name: str, model: type[BaseModel]) -> dict[str, Any]:
    """A block or a stage, each of whose fields may be a distribution. Bit widths may be left to `quantization`."""
    docs = _field_docs(model)
    fields = {field: info for field, info in model.model_fields.items() if field != tag}
    properties = {field: make_rule(info).json_schema() for field, info in fields.items()}
    for field, text in docs.items():
        if field in properties:
            properties[field]["description"] = text
    required = [f for f, info in fields.items() if info.default is PydanticUndefined and not f.endswith("bit_width")]
    return _object({tag: {"const": name}, **properties}, [tag, *required], inspect.getdoc(model) or "")


def _group_schemas() -> list[dict[str, Any]]:
    blocks = {"$ref": "#/$defs/Blocks"}
    variant = {"anyOf": [blocks, {"type": "array", "maxItems": 0}]}
    one_of = {"type": "object", "additionalProperties": variant, "minProperties": 1}
    shared = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"}
    return [
        _object({"repeat": REPEAT_RULE.json_schema(), "blocks": blocks}, ["repeat", "blocks"], "A group of blocks."),
        _object({"one_of": one_of, "as": shared}, ["one_of"], "One of several lists of blocks."),
    ]


def _object(properties: dict[str, Any], required: list[str], description: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {**schema, "description": description} if description else schema


def _list_models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those of its fields, each with its path in the file."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _find_models(field.annotation):
            yield from _list_models(inner, f"{path}.{name}" if path else name)


def _find_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in getattr(annotation, "__args__", ()) for model in _find_models(argument)]


def _model_lines(model: type[BaseModel], leave_out: str = "") -> list[str]:
    docs = _field_docs(model)
    lines = [(inspect.getdoc(model) or "").split("\n\n")[0].replace("\n", " "), ""]
    lines += ["| key | may be | left out | means |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name == leave_out:
            continue
        left_out = "by the schedule" if model is TrainingPart and field.is_required() else _default(field)
        cells = (f"`{name}`", _allowed(field), left_out, docs.get(name, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return lines


def _allowed(field: FieldInfo) -> str:
    models = _find_models(field.annotation)
    return "a list of such mappings" if str(field.annotation).startswith("tuple") and models else _name(field)


def _name(field: FieldInfo) -> str:
    try:
        return name_allowed(field)
    except KeyError:  # a field with a reader of its own
        return "see below"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "" if field.default_factory else "not allowed"
    if isinstance(field.default, BaseModel) or field.default in ((), None):
        return ""
    if isinstance(field.default, Choices | IntRange | FloatRange):
        return "a range"
    return f"`{json.dumps(field.default)}`"


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring behind each field, in one line; those of base classes too."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
                docs[field.target.id] = inspect.cleandoc(text.value.value).replace("\n", " ")  # type: ignore[attr-defined]
    return docs


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    raise SystemExit(main())
