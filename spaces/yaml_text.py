"""YAML text as plain values. A key given twice, which the parser would accept in silence, is an error."""

from __future__ import annotations

import re

import yaml


class YamlError(ValueError):
    """The text is no YAML mapping. The message has one line per problem, with file, line and column."""


def parse_yaml(text: str, source: str) -> dict[str, object]:
    """The mapping that `text` holds; `source` names it in errors. Raises YamlError."""
    try:
        return _construct(text, source)
    except yaml.MarkedYAMLError as error:
        raise YamlError(_describe_marked(error, source)) from error
    except yaml.reader.ReaderError as error:
        raise YamlError(
            f"{source}, character {error.position} is unreadable ({error.reason}); expected plain text"
        ) from error


class _StudyLoader(yaml.SafeLoader):
    """SafeLoader that also reads 1e-4 as a number, as YAML 1.2 does."""


_StudyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _construct(text: str, source: str) -> dict[str, object]:
    loader = _StudyLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise YamlError(f"{source} is empty; expected a study")
        if not isinstance(root, yaml.MappingNode):
            raise YamlError(f"{source} is {_name_node(root)}; expected a mapping of keys to values")
        problems = _list_key_problems(root, source, ancestors=())
        if problems:
            raise YamlError("\n".join(problems))
        return _construct_mapping(loader, root, source)
    finally:
        loader.dispose()


def _construct_mapping(loader: yaml.SafeLoader, root: yaml.MappingNode, source: str) -> dict[str, object]:
    try:
        value: dict[str, object] = loader.construct_document(root)
    except yaml.YAMLError:
        raise
    except (ValueError, OverflowError) as error:  # a date such as 2020-13-45
        raise YamlError(f"{source} has a value that YAML cannot read ({error}); put text in quotes") from error
    return value


def _list_key_problems(node: yaml.Node, source: str, ancestors: tuple[yaml.Node, ...]) -> list[str]:
    if any(node is ancestor for ancestor in ancestors):
        return [f"{_place(node.start_mark, source)}: the value contains itself (an alias of its own anchor)"]
    if isinstance(node, yaml.SequenceNode):
        return [p for item in node.value for p in _list_key_problems(item, source, (*ancestors, node))]
    if not isinstance(node, yaml.MappingNode):
        return []
    problems: list[str] = []
    first_lines: dict[str, int] = {}
    for key, value in node.value:
        place = _place(key.start_mark, source)
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
            problems.append(f"{place}: the key is {_name_node(key)}; expected text (in quotes if need be)")
        elif key.value in first_lines:
            problems.append(
                f"{place}: the key {key.value} is given twice, first on line {first_lines[key.value]}; expected once"
            )
        else:
            first_lines[key.value] = key.start_mark.line + 1
        problems += _list_key_problems(value, source, (*ancestors, node))
    return problems


_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


def _name_node(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _describe_marked(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = _place(mark, source) if mark is not None else source
    parts = [part for part in (error.context, error.problem) if part]
    message = f"{place}: {', '.join(parts)}"
    return message + "; indent with spaces, not tabs" if "\\t" in message else message


def _place(mark: yaml.error.Mark, source: str) -> str:
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}"
