"""Ours against Optuna's samplers: the same space, data and recipe, and what counts as found."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from search.benchmarks.live import (
    CORNER,
    JOINT,
    LADDER,
    LADDER_TPE,
    NSGA,
    OURS,
    SAMPLERS,
    STAGED,
    STAGED_ANEW,
    TPE,
    WITHOUT_PARENTS,
    Run,
    find_minutes,
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
    assert len(config.pruning.stages) == (len(LADDER) if is_ours or way == LADDER_TPE else 1)
    assert (config.early_stopping is not None) == is_ours
    assert config.study.inherits == (way == OURS)
    assert config.study.sampler == ("nsga2" if way == NSGA else "tpe")


def test_joint_search_has_the_space_and_data_of_the_campaign() -> None:
    ways = (JOINT, STAGED, STAGED_ANEW)
    joint, staged, anew = (parse_study_config(yaml.safe_dump(make_study(way, 2, 96)), "live") for way in ways)
    for part in ("dataset", "space", "objectives", "workers"):
        assert getattr(joint, part) == getattr(staged, part) == getattr(anew, part)
    assert anew.stages == staged.stages
    assert anew.training == joint.training
    assert {stage.kind for stage in anew.pruning.stages} == {stage.kind for stage in joint.pruning.stages}
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
    one = replace(report, trials=report.trials[:1])
    first, last = one.trials[0].points
    volumes = [(p.accuracy - CORNER[0]) * math.log10(CORNER[1] / p.inference_cost) for p in (first, last)]
    assert measure(TPE, 1, one, 2.0).hypervolume == pytest.approx(volumes[1])
    assert measure(OURS, 1, one, 2.0).hypervolume > max(volumes), "the union of two rectangles that cross"
    assert find_minutes(sqlite, "small") > 0


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
