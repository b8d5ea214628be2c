"""Ours against Optuna's samplers: the same space, data and recipe, and what counts as found."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from search.benchmarks.live import (
    CORNER,
    JOINT,
    LADDER,
    NSGA,
    OURS,
    SAMPLERS,
    STAGED,
    TPE,
    WITHOUT_PARENTS,
    Run,
    format_runs,
    make_study,
    measure,
)
from search.loop import run_search
from search.reports.study_report import load_study_report
from spaces.study_config import parse_study_config
from storage.database import Database
from tests.search.search_study import complete, make_search, small_config


@pytest.mark.parametrize("way", list(SAMPLERS))
def test_study_of_each_way_can_be_run_and_differs_in_its_own_parts_alone(way: str) -> None:
    config = parse_study_config(yaml.safe_dump(make_study(way, 2, 48)), "live")
    peer = parse_study_config(yaml.safe_dump(make_study(TPE, 2, 48)), "live")
    assert config.study.seed == 2
    assert config.dataset.twin.frames_per_cell == 48
    for part in ("dataset", "space", "training", "objectives", "workers"):
        assert getattr(config, part) == getattr(peer, part)
    is_ours = way in (OURS, WITHOUT_PARENTS)
    assert len(config.pruning.stages) == (len(LADDER) if is_ours else 1)
    assert (config.early_stopping is not None) == is_ours
    assert config.study.inherits == (way == OURS)
    assert config.study.sampler == ("nsga2" if way == NSGA else "tpe")


def test_joint_search_has_the_space_and_data_of_the_campaign() -> None:
    joint, staged = (parse_study_config(yaml.safe_dump(make_study(way, 2, 96)), "live") for way in (JOINT, STAGED))
    for part in ("dataset", "space", "objectives", "workers"):
        assert getattr(joint, part) == getattr(staged, part)
    assert joint.budget.epochs == staged.budget.epochs
    assert staged.stages
    assert not joint.stages
    assert joint.study.inherits


def test_peers_have_the_last_point_of_each_trial_and_ours_has_all(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    report = load_study_report(sqlite, "small")
    ours, peer = measure(OURS, 1, report, 2.0), measure(TPE, 1, report, 2.0)
    assert (ours.n_points, peer.n_points) == (12, 6)
    assert ours.n_trials == peer.n_trials == 6
    assert ours.hypervolume >= peer.hypervolume > 0
    one = report.front[0]
    alone = (one.accuracy - CORNER[0]) * math.log10(CORNER[1] / one.inference_cost)
    assert ours.hypervolume >= alone


def test_table_has_each_seed_and_their_mean() -> None:
    runs = [
        Run(OURS, 1, 0.3, 9, 30, 5),
        Run(OURS, 2, 0.5, 11, 40, 6),
        Run(TPE, 2, 0.25, 5, 5, 5),
        Run(TPE, 1, 0.2, 6, 6, 5),
    ]
    assert format_runs(runs).splitlines() == [
        "| way | seed 1 | seed 2 | mean | trials | points | minutes |",
        "|---|--:|--:|--:|--:|--:|--:|",
        "| ours | 0.3000 | 0.5000 | 0.4000 | 10 | 35 | 5.5 |",
        "| Optuna TPE | 0.2000 | 0.2500 | 0.2250 | 6 | 6 | 5.0 |",
    ]
