from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field

from spaces.allowed_values import field_at, make_rule, model_at, name_allowed
from spaces.blocks import BitWidth, DepthwiseSeparable, InputQuantizer


class Inner(BaseModel):
    rate: Annotated[float, Field(gt=0, lt=0.5)]


class Outer(BaseModel):
    inner: Inner
    items: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (str, "text"),
        (Annotated[int, Field(ge=1, le=16)], "a whole number from 1 to 16"),
        (Annotated[int, Field(ge=1)], "a whole number of at least 1"),
        (Annotated[int, Field(le=5)], "a whole number at most 5"),
        (Annotated[float, Field(gt=0)], "a number above 0"),
        (Annotated[float, Field(gt=0, le=1)], "a number above 0 and at most 1"),
        (Annotated[float, Field(gt=0, lt=0.5)], "a number above 0 and below 0.5"),
        (Annotated[int, Field(ge=1)] | None, "a whole number of at least 1, or empty"),
        (BitWidth | None, "2 to 8 bits, or 32 for float, or empty"),
        (Literal["tpe", "gp"], "one of tpe, gp"),
        (Literal["maximize"], "maximize"),
        (Inner, "a mapping with the keys rate"),
        (tuple[Inner, ...], "a list"),
    ],
)
def test_limits_are_said_in_words(annotation: object, words: str) -> None:
    assert name_allowed(annotation) == words


def test_field_is_found_through_models_and_lists() -> None:
    assert name_allowed(field_at(Outer, ("items", 3, "rate"))) == "a number above 0 and below 0.5"
    assert model_at(Outer, ("items", 0)) is Inner


def test_value_that_fits_has_no_mismatch() -> None:
    assert make_rule(DepthwiseSeparable.model_fields["kernel_size"]).find_mismatch(7) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("kernel_size", 4, "an odd kernel size (padding is kernel_size // 2 on both sides)"),
        ("kernel_size", 257, "an odd whole number from 1 to 255"),
        ("kernel_size", 3.0, "an odd whole number from 1 to 255"),
        ("weight_bit_width", 0, "2 to 8 bits, or 32 for float"),
        ("weight_bit_width", 33, "2 to 8 bits, or 32 for float"),
        ("weight_bit_width", "six", "2 to 8 bits, or 32 for float"),
        ("out_channels", True, "a whole number from 1 to 4096"),
        ("stride", "2", "a whole number from 1 to 16"),
    ],
)
def test_mismatch_says_what_the_field_allows(name: str, value: object, expected: str) -> None:
    assert make_rule(DepthwiseSeparable.model_fields[name]).find_mismatch(value) == expected


def test_field_that_takes_whole_numbers_for_floats_converts_them() -> None:
    converted = make_rule(InputQuantizer.model_fields["clip"]).convert(3)
    assert (converted, type(converted)) == (3.0, float)


def test_infinite_numbers_never_fit() -> None:
    rule = make_rule(InputQuantizer.model_fields["clip"])
    assert rule.find_mismatch(float("inf")) == "a finite number"
    assert rule.find_mismatch(float("nan")) == "a finite number"


def test_bare_annotation_is_a_rule_too() -> None:
    assert make_rule(BitWidth).find_mismatch(9) == "2 to 8 bits, or 32 for float"


def test_validator_without_the_word_expected_is_quoted_as_it_is() -> None:
    def refuse(value: int) -> int:
        raise ValueError("something else")

    assert make_rule(Annotated[int, AfterValidator(refuse)]).find_mismatch(1) == "something else"
