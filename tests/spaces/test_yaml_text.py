import pytest

from spaces.yaml_text import YamlError, parse_yaml


def read_problems(text: str) -> list[str]:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text, "a.yaml")
    return str(caught.value).splitlines()


def test_mapping_is_read_as_plain_values() -> None:
    assert parse_yaml("a: {b: [1, 2.5, true, null, text]}", "a.yaml") == {"a": {"b": [1, 2.5, True, None, "text"]}}


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", "1.0e-4", "0.0001", "+1e-4", ".1e-3"])
def test_numbers_with_an_exponent_are_numbers(text: str) -> None:
    assert parse_yaml(f"epsilon: {text}", "a.yaml") == {"epsilon": 0.0001}


def test_text_that_only_starts_like_a_number_stays_text() -> None:
    assert parse_yaml("a: 1e-4x", "a.yaml") == {"a": "1e-4x"}


def test_key_given_twice_is_named_with_both_lines() -> None:
    text = "study:\n  seed: 1\n  name: a\n  seed: 2\n"
    assert read_problems(text) == [
        "a.yaml, line 4, column 3: the key seed is given twice, first on line 2; expected once"
    ]


def test_all_keys_given_twice_are_reported_at_once() -> None:
    problems = read_problems("a: 1\na: 2\nb:\n  - {c: 1, c: 2}\n")
    assert [problem.split(":")[0] for problem in problems] == ["a.yaml, line 2, column 1", "a.yaml, line 4, column 12"]


def test_key_that_is_no_text_is_an_error() -> None:
    assert read_problems("yes: 1\n") == [
        "a.yaml, line 1, column 1: the key is yes; expected text (in quotes if need be)"
    ]


def test_key_that_is_a_list_is_an_error() -> None:
    assert read_problems("[1, 2]: 1\n") == [
        "a.yaml, line 1, column 1: the key is a list; expected text (in quotes if need be)"
    ]


def test_merged_keys_may_be_overridden() -> None:
    text = "base: &base {a: 1, b: 2}\nderived: {<<: *base, b: 3}\n"
    assert parse_yaml(text, "a.yaml")["derived"] == {"a": 1, "b": 3}


def test_syntax_error_has_file_line_and_column() -> None:
    assert read_problems("a:\n  b: [1, 2\nc: 3\n") == [
        "a.yaml, line 3, column 2: while parsing a flow sequence, expected ',' or ']', but got ':'"
    ]


def test_tab_is_told_to_become_spaces() -> None:
    assert read_problems("a:\n\tb: 1\n") == [
        "a.yaml, line 2, column 1: while scanning for the next token, "
        "found character '\\t' that cannot start any token; indent with spaces, not tabs"
    ]


def test_python_objects_are_refused() -> None:
    (problem,) = read_problems("a: !!python/object/apply:os.getcwd []\n")
    assert problem.startswith("a.yaml, line 1, column 4: could not determine a constructor for the tag")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.yaml is empty; expected a study"),
        ("# nothing\n", "a.yaml is empty; expected a study"),
        ("- a\n", "a.yaml is a list; expected a mapping of keys to values"),
        ("word\n", "a.yaml is word; expected a mapping of keys to values"),
        ("a: 1\n---\nb: 2\n", "a.yaml, line 2, column 1: expected a single document in the stream, "),
        ("a: &x [*x]\n", "a.yaml, line 1, column 4: the value contains itself"),
        ("a: 2020-13-45\n", "a.yaml has a value that YAML cannot read (month must be in 1..12"),
        ("a: \x07\n", "a.yaml, character 3 is unreadable (special characters are not allowed); expected plain text"),
    ],
)
def test_text_that_is_no_study_is_one_clear_problem(text: str, expected: str) -> None:
    (problem,) = read_problems(text)
    assert problem.startswith(expected)
