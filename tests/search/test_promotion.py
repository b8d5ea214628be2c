from dataclasses import replace
from pathlib import Path

import pytest

from search.loop import run_search
from search.measured_trials import MeasuredPoint
from search.objectives import study_objectives
from search.promotion import PromotionError, Winners, choose_winners, promote_point
from search.reports.study_report import StudyReport, TrialCounts, load_study_report
from search.stored_point import StoredPoint
from spaces.study_config import PromotionPart
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.dataset.radioml import RadioMLFile
from storage.hardware_reports import HardwareEstimate
from storage.records import Replicate
from storage.signals.radioml_classes import CLASS_NAMES
from tests.search.measured_trials import measured_point as trial
from tests.search.measured_trials import measured_trial
from tests.search.search_study import complete, make_search, small_config

FILE = RadioMLFile(Path("data.hdf5"), CLASS_NAMES, tuple(range(-20, 32, 2)), 8, 1024, 4992, None)


OBJECTIVES = study_objectives(small_config())


def report(*front: MeasuredPoint, threshold: float = 0.56) -> StudyReport:
    trials = tuple(point.trial for point in front)
    return StudyReport(
        "small", threshold, TrialCounts(len(front), 0, 0, 0, 0), trials, front, 0.5, (), OBJECTIVES, (), 0.0
    )


def stored(database: Database, folder: Path, point: MeasuredPoint) -> StoredPoint:
    return StoredPoint(database, ArtifactStore(folder / "artifacts"), small_config(), FILE, point)


def choose(report: StudyReport, top: int) -> Winners:
    return choose_winners(replace(report, promotion=PromotionPart(top=top)))


def numbers(winners: tuple[MeasuredPoint, ...]) -> list[int]:
    return [winner.trial_number for winner in winners]


def test_trials_above_the_threshold_are_chosen_by_the_hypervolume_only_they_cover() -> None:
    front = report(
        trial(0, 0.50, 0.01),
        trial(1, 0.57, 0.02),
        trial(2, 0.571, 0.3),
        trial(3, 0.60, 0.35),
    )
    choice = choose(front, top=2)
    assert numbers(choice.points) == [1, 3]
    assert choice.reason == "2 of 3 points above the threshold are promoted"


def test_two_stages_of_one_trial_may_both_be_chosen() -> None:
    lineage = measured_trial(4, (0.60, 0.3), (0.59, 0.1), (0.50, 0.05))
    choice = choose(report(trial(3, 0.58, 0.09), *lineage.points), top=2)
    assert [winner.name for winner in choice.points] == ["trial 4 stage 0", "trial 3"]
    choice = choose(report(*lineage.points), top=3)
    assert [winner.name for winner in choice.points] == ["trial 4 stage 1", "trial 4 stage 0"]


def test_fewer_trials_than_asked_are_all_chosen() -> None:
    assert numbers(choose(report(trial(0, 0.5, 0.01), trial(1, 0.57, 0.02)), top=5).points) == [1]


def test_most_accurate_trial_is_chosen_and_marked_where_none_reaches_the_threshold() -> None:
    choice = choose(report(trial(4, 0.2, 0.01), trial(7, 0.3, 0.02)), top=3)
    assert numbers(choice.points) == [7]
    assert "no network's lower bound reaches the accuracy threshold of 56.00%" in choice.reason
    expected = "trial 7 with 30.00% (29.60% to 30.40%), is built all the same and marked as below it"
    assert expected in choice.reason


def test_float_networks_are_passed_over() -> None:
    front = report(trial(0, 0.57, 0.1), trial(1, 0.59, 0.9, weight_bit_width=32))
    assert numbers(choose(front, top=2).points) == [0]
    assert choose(report(trial(1, 0.59, 0.9, weight_bit_width=32)), top=1).points == ()


def test_networks_too_slow_for_the_target_are_passed_over_as_their_builds_would_fail() -> None:
    front = replace(report(at(94_999, trial(0, 0.59, 0.1)), at(95_000, trial(1, 0.57, 0.2))), least_fps=95_000)
    assert numbers(choose(front, top=2).points) == [1]
    none = choose(replace(report(at(94_999, trial(0, 0.59, 0.1))), least_fps=95_000), top=1)
    assert none.points == ()
    assert none.reason == "FINN folds no trial of the front to 95,000 frames/s: nothing is promoted"


def at(throughput_fps: float, trial: MeasuredPoint) -> MeasuredPoint:
    """The point with FINN's estimate of this speed."""
    hardware = HardwareEstimate(1000, 1, 0, 0, throughput_fps, 100.0, "MVAU_rtl_0", None)
    return replace(trial.trial, hardware=(hardware,) * len(trial.trial.evaluations)).last


def test_nothing_is_chosen_where_top_is_0() -> None:
    choice = choose(report(trial(0, 0.6, 0.1)), top=0)
    assert choice.points == ()
    assert choice.reason == "promotion.top is 0: nothing is promoted"


def test_float_network_is_not_promoted(sqlite: Database, tmp_path: Path) -> None:
    with pytest.raises(PromotionError, match="trial 1 of small has 32-bit weights or activations; expected"):
        promote_point(stored(sqlite, tmp_path, trial(1, 0.59, 0.9, weight_bit_width=32)), print)


def test_trial_whose_weights_are_gone_is_not_promoted(sqlite: Database, tmp_path: Path) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete))
    winner = load_study_report(sqlite, "small").front[0]
    with pytest.raises(PromotionError, match="is missing; expected the artifacts folder of the run that trained it"):
        promote_point(stored(sqlite, tmp_path, winner), print)


@pytest.mark.parametrize(("rule", "marked"), [("lower_bound", [True, True, False]), ("mean", [True, False, False])])
def test_threshold_and_rule_decide_who_is_marked(
    rule: str, marked: list[bool], sqlite: Database, tmp_path: Path
) -> None:
    config = small_config(**{"workers:": f"promotion: {{rule: {rule}}}\nworkers:"})
    points = [trial(0, accuracy, 0.1) for accuracy in (0.559, 0.561, 0.57)]
    networks = [replace(stored(sqlite, tmp_path, point), config=config) for point in points]
    assert [one.is_below_threshold for one in networks] == marked


def test_winner_lacks_trainings_until_there_are_as_many_as_the_study_asks_for() -> None:
    front = report(trial(0, 0.57, 0.1), trial(1, 0.60, 0.3))
    asked = replace(front, promotion=PromotionPart(top=1, seeds=2))
    first = choose_winners(asked)
    assert numbers(first.points) == numbers(first.unconfirmed) == [0]
    good = replace(asked, replicates={(0, 0): [replicate(0, 0.58)]})
    assert numbers(choose_winners(good).points) == [0]
    assert choose_winners(good).unconfirmed == ()
    bad = replace(asked, replicates={(0, 0): [replicate(0, 0.48)]})
    assert numbers(choose_winners(bad).points) == numbers(choose_winners(bad).unconfirmed) == [1], "the next one"


def replicate(trial_number: int, accuracy: float) -> Replicate:
    return Replicate("small", trial_number, 0, 99, accuracy, 0.1, 49_920, 1.0)
