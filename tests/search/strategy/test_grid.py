"""Which combination of a grid is trained next."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from search.strategy.grid import Grid
from search.trial_attributes import GRID_PLACE
from spaces.study_config import ConfigError, StudyConfig, parse_study_config

STUDY = """
study: {name: tiny, seed: 1, sampler: grid, replicates: REPLICATES}
space:
  blocks:
    - type: conv
      out_channels: 8
      kernel_size: {choices: [3, 5]}
      stride: {choices: [8, 16]}
    - {type: linear, out_features: 24}
budget: {trials: 20, epochs: 1}
"""

KERNEL = "space.blocks[0].kernel_size"


def study_of(replicates: int) -> StudyConfig:
    return parse_study_config(STUDY.replace("REPLICATES", str(replicates)), "test")


def run(study: optuna.Study, grid: Grid, state: TrialState) -> int | None:
    following = grid.find_next(study)
    if following is None:
        return None
    place, values = following
    study.enqueue_trial(dict(values), user_attrs={GRID_PLACE: place})
    study.tell(study.ask(), 0.5 if state is TrialState.COMPLETE else None, state=state)
    return place


def test_all_combinations_come_once_before_any_comes_again() -> None:
    study, grid = optuna.create_study(), Grid(study_of(2))
    values = []
    while (following := grid.find_next(study)) is not None:
        values.append(following[1])
        run(study, grid, TrialState.COMPLETE)
    assert len(values) == 8
    assert values[:4] == values[4:]
    assert len({tuple(value.items()) for value in values}) == 4
    assert grid.is_over(study)
    assert grid.describe_end() == "each of the grid's 4 combinations was tried 2 times"


def test_what_failed_comes_again_and_what_cannot_be_built_does_not() -> None:
    study, grid = optuna.create_study(), Grid(study_of(1))
    states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE, TrialState.COMPLETE)
    assert [run(study, grid, state) for state in states] == [0, 1, 1, 2, 3]
    assert grid.is_over(study)


def test_fewer_replicates_than_before_end_the_study() -> None:
    study, grid = optuna.create_study(), Grid(study_of(3))
    for _ in range(6):
        run(study, grid, TrialState.COMPLETE)
    assert Grid(study_of(1)).find_next(study) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("sampler: grid", "sampler: tpe"), "study.replicates is 2; expected 1 for all samplers but grid"),
        (("replicates: 2", "candidates: 9"), "study.candidates is 9; expected 0 with the sampler grid"),
        (
            ("budget:", "training: {learning_rate: {float: [0.1, 0.2]}}\nbudget:"),
            "study.sampler is grid; expected choices for training.learning_rate, of which a grid has each: "
            "a range of floats has no end",
        ),
        (
            (
                "stride: {choices: [8, 16]}",
                "stride: {choices: [8, 16], as: k}\n      weight_bit_width: {choices: [4], as: k}",
            ),
            "space is a space with two ranges of the name k; expected one range of this name",
        ),
        (
            (
                "- type: conv",
                "- {type: parallel, branches: [[{type: conv, out_channels: 4, kernel_size: 3}], "
                "[{type: conv, out_channels: 4, kernel_size: 5}]]}\n    - type: conv",
            ),
            None,
        ),
    ],
)
def test_wrong_grid_is_told(change: tuple[str, str], problem: str | None) -> None:
    text = STUDY.replace("REPLICATES", "2").replace(*change)
    if problem is None:
        assert len(Grid(parse_study_config(text, "test"))._combinations) == 4
        text += "pruning: {stages: [{kind: structured, fraction: 0.5, epochs: 1}]}\n"
        problem = (
            "pruning.stages[0].kind is structured; expected another kind in a space with parallel blocks, "
            "whose channels cannot be removed"
        )
    with pytest.raises(ConfigError) as caught:
        parse_study_config(text, "test")
    assert caught.value.problems == (problem,)
