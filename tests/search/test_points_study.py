"""Every stage's end is a trial in the study of points, once, and the samplers of the search see none of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from search.budget import Limits
from search.loop import run_search
from search.optuna_storage import open_optuna_storage
from search.points_study import points_study_name
from search.reports.study_report import load_study_report
from search.study import open_study
from spaces.study_config import StudyConfig
from storage.database import Database, open_database
from tests.search.search_study import DATA, complete, hardware_config, make_search, points_of, small_config

STAGE = "    - {epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}"
THREE_STAGES = {STAGE: f"{STAGE}\n{STAGE}"}
"""Training and two pruning stages."""

EPSILONS = ["pruning.stages[0].epsilon", "pruning.stages[1].epsilon"]


def keys(trials: list[FrozenTrial]) -> list[tuple[int, int]]:
    return [(trial.user_attrs["trial"], trial.user_attrs["stage"]) for trial in trials]


def one_at_a_time(sampler: str) -> StudyConfig:
    changes = {"sampler: random": f"sampler: {sampler}", "{max_attempts": "{max_concurrent: 1, max_attempts"}
    return hardware_config("", "inference_cost: {at_most: 0.002}", **THREE_STAGES, **changes)


def test_every_stage_of_every_complete_trial_is_a_trial(database: Database, tmp_path: Path) -> None:
    config = hardware_config("", "inference_cost: {at_most: 0.002}", **THREE_STAGES)
    search = make_search(config, database, tmp_path, complete)
    run_search(search)
    points = points_of(search.study).trials
    report = load_study_report(database, "small")
    assert len(points) == 18
    assert sorted(keys(points)) == [point.key for point in report.points]
    by_key = dict(zip(keys(points), points, strict=True))
    for point in report.points:
        trial = by_key[point.key]
        assert trial.values == [point.accuracy, point.inference_cost]
        assert trial.constraints == {"inference_cost": pytest.approx((point.inference_cost - 0.002) / 0.002)}
    assert points_of(search.study).metric_names == ["accuracy", "inference_cost"]
    assert points_of(search.study).directions == search.study.directions


def test_point_has_the_parameters_that_its_network_depends_on(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(**THREE_STAGES), sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    (trial,) = search.study.trials
    drawn = [sorted(set(trial.params) - set(point.params)) for point in points_of(search.study).trials]
    assert set(EPSILONS) < set(trial.params)
    assert drawn == [EPSILONS, EPSILONS[1:], []]


def test_point_has_the_cost_target_of_its_stage(sqlite: Database, tmp_path: Path) -> None:
    target = "    - {kind: cost_aware, inference_cost: {float: [0.001, 0.002]}, epochs: 2}"
    config = small_config(**{STAGE: f"{STAGE}\n{target}"}, **{"trials: 6": "trials: 1"})
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    (trial,) = load_study_report(sqlite, "small").trials
    asked = search.study.trials[trial.trial_number].params["pruning.stages[1].inference_cost"]
    assert [point.target_inference_cost for point in trial.points] == [None, None, asked]
    assert [point.user_attrs.get("target_inference_cost") for point in _points(sqlite)] == [None, None, asked]


def test_trials_of_the_search_keep_their_numbers_and_its_front_is_of_their_last_stages(
    sqlite: Database, tmp_path: Path
) -> None:
    search = make_search(small_config(**THREE_STAGES), sqlite, tmp_path, complete)
    run_search(search)
    assert [trial.number for trial in search.study.trials] == list(range(6))
    report = load_study_report(sqlite, "small")
    assert [trial.values for trial in search.study.trials] == [
        [trial.last.accuracy, trial.last.inference_cost] for trial in report.trials
    ]
    best = points_of(search.study).best_trials
    assert sorted(keys(best)) == sorted(point.key for point in report.front)


@pytest.mark.parametrize(
    ("sampler", "same", "n_trials"),
    [
        ("tpe", TPESampler(seed=3), 16),  # from the 11th trial on it learns
        ("gp", GPSampler(seed=3), 13),
        ("nsga2", NSGAIISampler(seed=3), 54),  # a generation has 50
        ("random", RandomSampler(seed=3), 4),
    ],
)
def test_suggestions_are_those_of_a_study_that_knows_the_trained_designs_alone(
    sqlite: Database, tmp_path: Path, sampler: str, same: BaseSampler, n_trials: int
) -> None:
    config = one_at_a_time(sampler)
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(n_trials, n_trials, None))
    run_search(search)
    assert len(points_of(search.study).trials) == 3 * n_trials

    plain = optuna.create_study(directions=["maximize", "minimize"], sampler=same)
    for trial in search.study.trials:
        asked = plain.ask()
        config.search_space.suggest(asked)
        assert asked.params == trial.params
        asked.set_constraint("inference_cost", trial.constraints["inference_cost"])
        plain.tell(asked, trial.values)


@pytest.mark.parametrize("n_added", [0, 2, 3, 4])
def test_driver_killed_between_two_points_adds_none_twice_and_loses_none(tmp_path: Path, n_added: int) -> None:
    """Each trial has three points; the driver dies before it adds the next one."""
    url = f"sqlite:///{tmp_path}/studies.db"
    process = multiprocessing.get_context("spawn").Process(target=_run_and_die, args=(url, tmp_path, n_added))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    database = open_database(url)
    told = load_study_report(database, "small").trials
    assert len(told) == n_added // 3 + 1
    assert len(_points(database)) == n_added

    run_search(make_search(small_config(**THREE_STAGES), database, tmp_path, complete))

    assert sorted(keys(_points(database))) == [(number, stage) for number in range(6) for stage in range(3)]
    database.engine.dispose()


def _run_and_die(url: str, folder: Path, n_added: int) -> None:
    add = optuna.Study.add_trial
    added: list[FrozenTrial] = []

    def add_or_die(study: optuna.Study, trial: FrozenTrial) -> None:
        if len(added) == n_added:
            os.kill(os.getpid(), signal.SIGKILL)
        added.append(trial)
        add(study, trial)

    pytest.MonkeyPatch().setattr(optuna.Study, "add_trial", add_or_die)
    run_search(make_search(small_config(**THREE_STAGES), open_database(url), folder, complete))


def _points(database: Database) -> list[FrozenTrial]:
    return optuna.load_study(study_name=points_study_name("small"), storage=open_optuna_storage(database)).trials


def test_points_that_are_all_there_are_not_added_again(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    open_study(small_config(), sqlite, DATA)
    assert len(_points(sqlite)) == 12


def test_copied_trial_has_its_points(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    search.study.enqueue_trial(search.study.trials[0].params)
    run_search(make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(2, 6, None)))
    points = _points(sqlite)
    assert keys(points) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert points[2].values == points[0].values


def test_trial_that_was_told_by_hand_has_no_points(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(2, 6, None))
    search.study.tell(search.study.ask(), [0.9, 0.1])
    run_search(search)
    open_study(small_config(), sqlite, DATA)
    assert keys(_points(sqlite)) == [(1, 0), (1, 1)]


def test_deleted_study_of_points_is_made_again(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    optuna.delete_study(study_name=points_study_name("small"), storage=open_optuna_storage(sqlite))
    open_study(small_config(), sqlite, DATA)
    assert len(_points(sqlite)) == 12


def test_study_that_starts_anew_has_none_of_the_points_of_before(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    optuna.delete_study(study_name="small", storage=open_optuna_storage(sqlite))
    run_search(make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None)))
    assert keys(_points(sqlite)) == [(0, 0), (0, 1)]


def test_study_without_pruning_has_no_study_of_points(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(**{f"pruning:\n  stages:\n{STAGE}\n": ""}), sqlite, tmp_path, complete))
    assert optuna.get_all_study_names(open_optuna_storage(sqlite)) == ["small"]
    report = load_study_report(sqlite, "small")
    assert not report.has_stages
    assert [point.name for point in report.points] == [f"trial {number}" for number in range(6)]
