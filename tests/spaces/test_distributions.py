from typing import Annotated

import optuna
import pytest
from pydantic import Field

from spaces.allowed_values import make_rule
from spaces.blocks import KernelSize
from spaces.distributions import (
    Choices,
    Drawable,
    FloatRange,
    IntRange,
    SuggestingTrial,
    draw,
    find_smallest,
    parse_drawable,
)
from spaces.problems import InvalidValueError

KERNEL = make_rule(KernelSize)
RATE = make_rule(Annotated[float, Field(ge=0, le=1)])
FLAG = make_rule(bool | None)


def problems_of(value: object, rule: object = KERNEL) -> list[str]:
    with pytest.raises(InvalidValueError) as caught:
        parse_drawable(value, rule)  # type: ignore[arg-type]
    return [str(problem.under(("x",))) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("value", "drawable"),
    [
        (7, 7),
        ({"choices": [3, 5]}, Choices((3, 5))),
        ({"int": [7, 33], "step": 2}, IntRange(7, 33, 2)),
        ({"int": [7, 7]}, IntRange(7, 7, 1)),
    ],
)
def test_value_and_distribution_of_whole_numbers_are_read(value: object, drawable: Drawable) -> None:
    assert parse_drawable(value, KERNEL) == drawable


@pytest.mark.parametrize(
    ("value", "drawable"),
    [
        ({"float": [0, 0.5]}, FloatRange(0.0, 0.5, log=False)),
        ({"float": [1e-6, 1e-4], "log": True}, FloatRange(1e-6, 1e-4, log=True)),
        ({"choices": [0, 0.1]}, Choices((0.0, 0.1))),
    ],
)
def test_value_and_distribution_of_numbers_are_read(value: object, drawable: Drawable) -> None:
    assert parse_drawable(value, RATE) == drawable


def test_choices_may_be_true_false_and_empty() -> None:
    assert parse_drawable({"choices": [True, False, None]}, FLAG) == Choices((True, False, None))


ODD = "expected an odd kernel size (padding is kernel_size // 2 on both sides)"

WHOLE = "expected an odd whole number from 1 to 255"
LAST = "expected low plus a multiple of step as high, such as 31 or 33"


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (4, [f"x is 4; {ODD}"]),
        ({"choices": [3, 4, 6]}, [f"x.choices[1] is 4; {ODD}", f"x.choices[2] is 6; {ODD}"]),
        ({"choices": []}, ["x.choices is empty; expected at least one value"]),
        ({"choices": 3}, ["x.choices is 3; expected a list of values"]),
        ({"choices": [3, 5, 3]}, ["x.choices[2] is 3; expected each value once"]),
        ({"choices": [[3]]}, ["x.choices[0] is [3]; expected an odd whole number from 1 to 255"]),
        ({"int": [7, 33]}, [f"x is {{int: [7, 33]}}, which can give 8; {ODD}"]),
        ({"int": [8, 32], "step": 2}, [f"x.int[0] is 8; {ODD}", f"x.int[1] is 32; {ODD}"]),
        ({"int": [1, 259], "step": 2}, ["x is {int: [1, 259], step: 2}, which can give 257; " + WHOLE]),
        ({"int": [7, 32], "step": 2}, ["x is {int: [7, 32], step: 2}; " + LAST]),
        ({"int": [9, 7]}, ["x.int is [9, 7]; expected low first, then high"]),
        ({"int": [7]}, ["x.int is [7]; expected two whole numbers, [low, high]"]),
        ({"int": [7.0, "9"]}, ["x.int[0] is 7.0; expected a whole number", 'x.int[1] is "9"; expected a whole number']),
        ({"int": [7, 9], "step": 0}, ["x.step is 0; expected a whole number of at least 1"]),
        ({"int": [7, 9], "step": True}, ["x.step is true; expected a whole number of at least 1"]),
        ({"int": [7, 9], "log": True}, ["x.log is an unknown key; expected one of int, step, as"]),
        (
            {"int": [7, 9], "stepp": 2},
            ["x.stepp is an unknown key; expected one of int, step, as (did you mean step?)"],
        ),
        ({"choice": [3]}, ["x.choice is an unknown key; expected one of choices, int, float (did you mean choices?)"]),
        ({"float": [3, 5]}, ["x is {float: [3, 5]}; expected an odd whole number from 1 to 255"]),
        ([3, 5], [f"x is [3, 5]; {WHOLE}, or a distribution such as {{choices: [3, 5]}}"]),
    ],
)  # fmt: skip
def test_wrong_whole_numbers_say_what_is_allowed(value: object, problems: list[str]) -> None:
    assert problems_of(value) == problems


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({"float": [0, 0.1], "log": True}, ["x.float[0] is 0; expected a number above 0, for log is true"]),
        ({"float": [0.1, 2]}, ["x.float[1] is 2.0; expected a number from 0 to 1"]),
        ({"float": [0.2, 0.1]}, ["x.float is [0.2, 0.1]; expected low first, then high"]),
        ({"float": [0, float("inf")]}, ["x.float[1] is inf; expected at most 1e+15 either way"]),
        ({"float": [0, 10**20]}, ["x.float[1] is 100000000000000000000; expected at most 1e+15 either way"]),
        ({"float": [0, float("nan")]}, ["x.float[1] is nan; expected at most 1e+15 either way"]),
        ({"float": [0.1, 0.2], "log": 1}, ["x.log is 1; expected true or false"]),
        ({"float": 0.1}, ["x.float is 0.1; expected two numbers, [low, high]"]),
        ("fast", ['x is "fast"; expected a number from 0 to 1']),
        (None, ["x is empty; expected a number from 0 to 1"]),
    ],
)
def test_wrong_numbers_say_what_is_allowed(value: object, problems: list[str]) -> None:
    assert problems_of(value, RATE) == problems


@pytest.mark.parametrize("value", [{}, {"choices": [3], "int": [3, 5]}])
def test_distribution_of_no_kind_or_of_two_lists_the_kinds(value: object) -> None:
    (problem,) = problems_of(value)
    assert problem.endswith(
        "expected a value, {choices: [...]}, {int: [low, high], step: n} or {float: [low, high], log: true}"
    )


def test_enormous_range_is_refused_at_once() -> None:
    (problem,) = problems_of({"int": [1, 10**15]})
    assert problem.startswith("x is {int: [1, 1000000000000000]}, which can give 2; expected an odd kernel size")


@pytest.mark.parametrize(
    ("drawable", "smallest"),
    [
        (4, 4),
        (Choices((2, 1)), 1),
        (IntRange(3, 8, 1), 3),
        (FloatRange(0.5, 1.0, log=False), 0.5),
        (Choices((True, False)), True),
    ],
)
def test_smallest_value_is_found(drawable: Drawable, smallest: object) -> None:
    assert find_smallest(drawable) == smallest


def test_optunas_trial_draws_from_every_kind_under_the_given_name() -> None:
    trial = optuna.create_study().ask()
    suggesting: SuggestingTrial = trial
    drawables: dict[str, Drawable] = {
        "choice": Choices((True, None, 8)),
        "int": IntRange(7, 33, 2),
        "float": FloatRange(1e-6, 1e-4, log=True),
    }
    values = {name: draw(suggesting, name, drawable) for name, drawable in drawables.items()}
    assert trial.params == values
    assert values["int"] in range(7, 34, 2)


def test_fixed_value_is_not_drawn() -> None:
    trial = optuna.create_study().ask()
    assert draw(trial, "fixed", 6) == 6
    assert trial.params == {}
