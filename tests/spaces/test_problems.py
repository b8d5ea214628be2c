from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from spaces.problems import InvalidValueError, Problem, find_closest, format_path, format_value, list_problems, one_of


def refuse_pair(pair: str) -> str:
    raise InvalidValueError([Problem(("left",), "1", "2"), Problem((0,), "3", "4")])


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    seed: int
    sampler: Literal["tpe", "gp"] = "tpe"


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    part: Part
    pair: Annotated[str, AfterValidator(refuse_pair)] = "default"


def problems_of(value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(value)
    return list(map(str, list_problems(caught.value, Whole)))


def test_path_is_written_as_one_would_say_it() -> None:
    assert format_path(("space", "blocks", 2, "kernel_size", "choices", 1)) == "space.blocks[2].kernel_size.choices[1]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "empty"),
        ("", "empty"),
        ([], "empty"),
        ({}, "empty"),
        (True, "true"),
        (0, "0"),
        (2.5, "2.5"),
        ("bayes", '"bayes"'),
        ([1, 2], "[1, 2]"),
        ({"int": [7, 33], "step": 2}, "{int: [7, 33], step: 2}"),
    ],
)
def test_value_is_written_as_in_yaml(value: object, text: str) -> None:
    assert format_value(value) == text


def test_long_value_is_cut() -> None:
    assert format_value("x" * 1000) == '"' + "x" * 75 + " ..."


def test_value_of_many_lines_becomes_one() -> None:
    assert format_value(b"abc") == "!!binary | YWJj"


def test_wrong_value_is_one_line_with_path_value_and_what_is_allowed() -> None:
    assert problems_of({"part": {"seed": "one"}}) == ['part.seed is "one"; expected a whole number']


def test_missing_value_says_what_it_could_be() -> None:
    assert problems_of({"part": {}}) == ["part.seed is missing; expected a whole number"]


def test_unknown_key_names_the_known_ones_and_the_closest() -> None:
    assert problems_of({"part": {"seed": 1, "Sampler_": "tpe"}}) == [
        "part.Sampler_ is an unknown key; expected one of seed, sampler (did you mean sampler?)"
    ]


def test_unknown_key_like_no_other_gets_no_guess() -> None:
    assert problems_of({"part": {"seed": 1, "zzz": 2}}) == ["part.zzz is an unknown key; expected one of seed, sampler"]


def test_misspelt_required_key_is_one_problem() -> None:
    assert problems_of({"part": {"sed": 1}}) == [
        "part.sed is an unknown key; expected one of seed, sampler (did you mean seed?)"
    ]


def test_misspelt_word_gets_a_guess() -> None:
    assert problems_of({"part": {"seed": 1, "sampler": "TPE"}}) == [
        'part.sampler is "TPE"; expected one of tpe, gp (did you mean tpe?)'
    ]


def test_problems_of_a_validator_get_the_path_of_its_field() -> None:
    assert problems_of({"part": {"seed": 1}, "pair": "x"}) == ["pair.left is 1; expected 2", "pair[0] is 3; expected 4"]


def test_all_problems_are_listed() -> None:
    assert len(problems_of({"part": {"seed": 1.5, "sampler": 3, "x": 1}, "pair": "x", "y": 2})) == 6


def test_closest_name_is_the_similar_one() -> None:
    assert find_closest(["kernel_size", "stride"], "kernelsize") == "kernel_size"
    assert find_closest(["kernel_size", "stride"], 3) is None
    assert one_of([], "a") == "no key"
