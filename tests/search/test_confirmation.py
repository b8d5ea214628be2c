"""Winners are trained again with other seeds before they go to hardware."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from search.confirmation import SEED_STEP, ConfirmationError, list_missing, train_again
from search.judgement import Judgement, find_interval, find_normal_interval
from search.loop import Search, run_search
from search.reports.study_report import load_study_report
from spaces.study_config import PromotionPart
from storage.database import Database
from storage.replicates import load_replicates
from tests.search.search_study import FakePool, complete, fail, make_search, small_config
from workers.pool import Done
from workers.requests import EvaluationRequest

SEEDS = "promotion: {seeds: 3}\nworkers:"


def run_small(database: Database, folder: Path) -> Search:
    search = make_search(small_config(**{"workers:": SEEDS}), database, folder, complete)
    run_search(search)
    return search


def test_missing_seeds_are_trained_up_to_the_points_stage_and_kept(sqlite: Database, tmp_path: Path) -> None:
    search = run_small(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    lineage = report.trials[2].points
    missing = list_missing(search.place, report, lineage)
    assert [(len(request.design.stages), request.seed) for request in missing] == [
        (stage, 3 + 2 + k * SEED_STEP) for stage in (0, 1) for k in (1, 2)
    ]
    assert len({request.folder for request in [*missing, *search.requests.values()]}) == 4 + 6
    steps: list[str] = []
    train_again(FakePool(complete), missing, sqlite, 3, steps.append)
    assert steps[0] == "training winners with other seeds: 0 of 4 done"
    assert steps[-1].startswith("training winners with other seeds: 3 of 4 done, about 0 minutes left")
    again = load_study_report(sqlite, "small")
    assert list_missing(search.place, again, lineage) == []
    judgement = again.judge(lineage[1])
    assert judgement.accuracies == (lineage[1].accuracy,) * 3, "the pool measures by formula"


def test_network_of_which_a_training_fails_makes_room_for_the_next(sqlite: Database, tmp_path: Path) -> None:
    search = run_small(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    point = report.trials[1].last
    missing = list_missing(search.place, report, [point])

    def fail_second(request: EvaluationRequest) -> Done:
        return fail(request) if request.seed == missing[1].seed else complete(request)

    train_again(FakePool(fail_second), missing, sqlite, 3, print)
    kept = load_replicates(sqlite, "small")[1, 1]
    assert [(replicate.seed, replicate.accuracy is None) for replicate in kept] == [
        (missing[0].seed, False),
        (missing[1].seed, True),
    ]
    assert kept[1].failure == "Traceback:\nValueError: no luck"
    again = load_study_report(sqlite, "small")
    assert list_missing(search.place, again, [point]) == [], "it would fail again"
    judgement = again.judge(point)
    assert (len(judgement.accuracies), judgement.n_trainings) == (2, 3)
    assert str(judgement).endswith("; 1 more failed)")
    assert not judgement.passes(0.01, PromotionPart(rule="mean"))


def test_training_whose_machine_fails_is_tried_as_often_as_a_trial(sqlite: Database, tmp_path: Path) -> None:
    search = run_small(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    missing = list_missing(search.place, report, [report.trials[0].last, report.trials[3].last])
    attempts: list[int] = []

    def lose_each_twice(request: EvaluationRequest) -> Done:
        attempts.append(request.seed)
        is_lost = attempts.count(request.seed) < 3
        return fail(request, is_infrastructure=True) if is_lost else complete(request)

    train_again(FakePool(lose_each_twice), missing, sqlite, 3, print)
    assert sorted(attempts) == sorted(request.seed for request in missing for _ in range(3))
    assert list_missing(search.place, load_study_report(sqlite, "small"), [report.trials[3].last]) == []


def test_rest_is_trained_where_a_machine_fails_too_often(sqlite: Database, tmp_path: Path) -> None:
    search = run_small(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    missing = list_missing(search.place, report, [report.trials[0].last])

    def lose_first(request: EvaluationRequest) -> Done:
        return fail(request, is_infrastructure=True) if request.seed == missing[0].seed else complete(request)

    with pytest.raises(
        ConfirmationError, match=r"trial 0 could not be trained with seed .*: its machine failed 2 times"
    ):
        train_again(FakePool(lose_first), missing, sqlite, 2, print)
    left = list_missing(search.place, load_study_report(sqlite, "small"), [report.trials[0].last])
    assert [request.seed for request in left] == [missing[0].seed]


@pytest.mark.parametrize(("right", "n"), [(0, 50), (1, 50), (29, 50), (49, 50), (50, 50), (28_000, 49_920)])
def test_interval_is_that_of_clopper_and_pearson(right: int, n: int) -> None:
    exact = binomtest(right, n).proportion_ci(0.95, "exact")
    assert find_interval(right / n, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_judgement_is_of_the_mean_of_the_seeds() -> None:
    judgement = Judgement((0.58, 0.55, 0.57), 49_920)
    assert str(judgement) == "56.67% ± 1.53% over 3 seeds (56.23% to 57.10%)"
    assert str(Judgement((0.58,), 49_920)) == "58.00% (57.57% to 58.43%)"
    by_bound, by_mean = PromotionPart(), PromotionPart(rule="mean")
    assert judgement.passes(0.562, by_bound)
    assert not judgement.passes(0.565, by_bound)
    assert judgement.passes(0.565, by_mean)


def test_seeds_of_a_study_may_change_between_runs(sqlite: Database, tmp_path: Path) -> None:
    search = run_small(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    more = replace(report, promotion=PromotionPart(seeds=2))
    assert len(list_missing(search.place, more, [report.trials[0].last])) == 1
    assert search.config.fingerprint == small_config().fingerprint


def test_normal_interval_is_two_standard_errors_wide_on_both_sides() -> None:
    assert find_normal_interval(0.5, 100) == pytest.approx((0.402, 0.598), abs=5e-4)
    assert find_normal_interval(0.001, 100)[0] == 0.0
    assert find_normal_interval(1.0, 100) == (1.0, 1.0)
