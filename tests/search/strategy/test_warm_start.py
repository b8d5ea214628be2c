"""What a new study tries first."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.budget import Limits
from search.loop import run_search
from search.reports.study_report import load_study_report
from search.strategy.warm_start import check_warm_start, enqueue_first_trials
from search.study import StudyError
from spaces.study_config import ConfigError, StudyConfig, parse_study_config
from storage.database import Database
from tests.search.search_study import complete, make_search, small_config

STUDY = """
study: {name: warm, seed: 3, sampler: random}
space:
  blocks:
    - {type: input_quantizer, clip: {float: [2, 4]}}
    - repeat: {int: [4, 5]}
      blocks:
        - type: depthwise_separable
          kernel_size: {int: [9, 33], step: 2}
          stride: {choices: [1, 2, 4]}
          out_channels: {int: [16, 48], step: 8}
          weight_bit_width: {int: [4, 8]}
          activation_bit_width: {int: [3, 5]}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: {int: [4, 8]}}
pruning:
  stages:
    - {kind: cost_aware, inference_cost: {float: [0.004, 0.02], log: true}, epochs: 1}
budget: {trials: 4, epochs: 2}
"""


def warm_config(part: str) -> StudyConfig:
    return parse_study_config(f"{STUDY}warm_start: {part}\n", "warm.yaml")


def test_known_designs_are_the_first_trials(database: Database, tmp_path: Path) -> None:
    config = warm_config("{designs: [bacalhaunet, four_blocks_06]}")
    search = make_search(config, database, tmp_path, complete, limits=Limits(4, 12, None))
    assert enqueue_first_trials(search.study, config, database) == "tried first: bacalhaunet, four_blocks_06"
    assert enqueue_first_trials(search.study, config, database) is None, "once in the life of a study"
    run_search(search)
    first, second, *others = search.study.trials
    assert (first.user_attrs["known_design"], second.user_attrs["known_design"]) == ("bacalhaunet", "four_blocks_06")
    assert not any("known_design" in trial.user_attrs for trial in others)
    assert len(others) == 2
    design = load_study_report(database, "warm").trials[0].design
    kernels = [block.model_dump()["kernel_size"] for block in design.architecture.blocks[1:-2]]
    assert kernels == [27, 21, 15, 9, 9]
    assert first.params["space.blocks[1].times[0].blocks[0].weight_bit_width"] == 6
    assert 3 <= first.params["space.blocks[1].times[0].blocks[0].activation_bit_width"] <= 5, "6 is not in the space"


def test_front_of_another_study_is_tried_first(sqlite: Database, tmp_path: Path) -> None:
    other = make_search(small_config(), sqlite, tmp_path, complete)
    run_search(other)
    front = list(dict.fromkeys(point.trial_number for point in load_study_report(sqlite, "small").front))
    text = small_config().text.replace("name: small", "name: next") + "\nwarm_start: {study: small}\n"
    config = parse_study_config(text, "next.yaml")
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(len(front), 100, None))
    said = enqueue_first_trials(search.study, config, sqlite)
    assert said == "tried first: " + ", ".join(f"trial {number} of small" for number in front)
    run_search(search)
    tried = [trial.params for trial in search.study.trials[: len(front)]]
    assert tried == [other.study.trials[number].params for number in front]


def test_values_that_the_space_lacks_are_drawn(sqlite: Database, tmp_path: Path) -> None:
    """Where Optuna would raise for a choice, and train outside of a range."""
    other = make_search(small_config(), sqlite, tmp_path, complete)
    run_search(other)
    text = small_config().text.replace("name: small", "name: next") + "\nwarm_start: {study: small}\n"
    narrow = text.replace("{choices: [1, 2]}", "{choices: [2, 4]}").replace("{int: [4, 64]}", "{int: [40, 64]}")
    config = parse_study_config(narrow, "next.yaml")
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(8, 100, None))
    enqueue_first_trials(search.study, config, sqlite)
    run_search(search)
    again = make_search(config, sqlite, tmp_path, complete, limits=Limits(9, 100, None))
    run_search(again)
    first = [trial for trial in again.study.trials if "known_design" in trial.user_attrs]
    assert first
    for trial in first:
        assert trial.params["space.blocks[1].stride"] in (2, 4)
        assert 40 <= trial.params["space.blocks[1].out_channels"] <= 64
        number = int(trial.user_attrs["known_design"].split()[1])
        kept = other.study.trials[number].params
        assert trial.params["space.blocks[1].weight_bit_width"] == kept["space.blocks[1].weight_bit_width"]


def test_study_that_is_not_there_is_told_before_the_new_one_is_made(sqlite: Database, tmp_path: Path) -> None:
    expected = "warm_start.study is nowhere; expected one of those in the database: none"
    with pytest.raises(StudyError, match=expected):
        check_warm_start(warm_config("{study: nowhere}"), sqlite)


def test_what_comes_too_late_is_said(sqlite: Database, tmp_path: Path) -> None:
    cold, warm = warm_config("{}"), warm_config("{designs: [bacalhaunet]}")
    search = make_search(cold, sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    assert enqueue_first_trials(search.study, cold, sqlite) is None
    run_search(search)
    assert enqueue_first_trials(search.study, warm, sqlite) == "warm_start has no effect: the study began without it"
    assert len(search.study.trials) == 1


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (
            "{designs: [bacalaunet]}",
            r"warm_start.designs\[0\] is .bacalaunet.; .* \(did you mean bacalhaunet",
        ),
        ("{designs: vgg10}", r"warm_start.designs is .vgg10.; expected a list of names: bacalhaunet, "),
        (
            "{designs: [vgg10]}",
            r"warm_start.designs\[0\] is vgg10; expected a design of the space: space.blocks is a list",
        ),
        ("{study: warm}", r"warm_start.study is warm; expected the name of another study"),
        ("{designs: [four_blocks_13, small_net], name: x}", r"warm_start.name is an unknown key"),
    ],
)
def test_wrong_values_are_told_before_anything_starts(part: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        warm_config(part)


def test_what_is_tried_first_does_not_change_what_a_trial_gives() -> None:
    assert warm_config("{designs: [bacalhaunet]}").fingerprint == warm_config("{}").fingerprint
