"""What a search believes at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.budget import Limits
from search.loop import run_search
from search.reports.beliefs import LEAST_TRIALS, describe_beliefs, measure_recent_gain, rank_values, shorten_path
from search.reports.study_report import load_study_report
from storage.database import Database
from tests.search.search_study import complete, make_search, small_config


def test_values_that_decide_are_named_for_each_objective(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(40, 120, None))
    run_search(search)
    report = load_study_report(sqlite, "small")
    accuracy, cost, gain = describe_beliefs(search.study, report)
    assert accuracy.startswith("accuracy depends most on: b1 out_channels ")  # by formula, the larger the better
    assert cost.startswith("inference cost η depends most on: b1 ")
    assert gain.startswith("the last quarter of 0.0 hours of training added ")
    importances = rank_values(search.study, 0)
    assert sum(importances.values()) == pytest.approx(1)
    assert next(iter(importances)) == "space.blocks[1].out_channels"


def test_gain_is_what_the_last_trials_add_to_the_volume(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(20, 60, None))
    run_search(search)
    report = load_study_report(sqlite, "small")
    gain, volume, hours = measure_recent_gain(report.trials, report)
    assert 0 <= gain < volume == report.hypervolume
    assert hours == pytest.approx(20 * 2 * 1.5 / 3600)
    everything = measure_recent_gain(report.trials[:1], report)
    assert everything[0] == everything[1], "nothing was there before"


def test_few_trials_say_nothing(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(LEAST_TRIALS - 1, 60, None))
    run_search(search)
    assert describe_beliefs(search.study, load_study_report(sqlite, "small")) == []


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("space.blocks[2].kernel_size", "b2 kernel_size"),
        ("space.blocks[1].times[3].blocks[0].out_channels", "b1.3.0 out_channels"),
        ("space.blocks[1].repeat", "b1 repeat"),
        ("pruning.stages[0].inference_cost", "s1 inference_cost"),
        ("training.learning_rate", "learning_rate"),
    ],
)
def test_paths_are_shortened(path: str, short: str) -> None:
    assert shorten_path(path) == short
