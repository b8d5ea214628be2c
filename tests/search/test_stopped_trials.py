"""Trials that a study stops early: told once, with the points of what they finished."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

import search.loop
from search.budget import Limits
from search.loop import StopReason, run_search
from search.measured_trials import load_measured_trials
from search.processes.interrupts import Interrupts
from search.reports.study_report import count_trials, load_study_report
from search.stored_point import describe_other_end
from search.study import tell_failure, tell_stopped, tell_unbuildable
from spaces.study_config import ConfigError, StudyConfig
from storage.database import Database
from storage.records import RungResult
from storage.rungs import load_rungs
from tests.search.search_study import complete, make_search, points_of, pool_of, small_config
from workers.requests import Completed, EvaluationRequest, Paused

LIMITS = Limits(20, 60, None)


def halving_config(**values: float) -> StudyConfig:
    """The small study, whose trials of 3 + 2 epochs are compared after 2 and after 3."""
    part = ", ".join(f"{name}: {value}" for name, value in values.items())
    return small_config(**{"workers:": f"early_stopping: {{{part}}}\nworkers:"})


def climb(request: EvaluationRequest) -> Completed | Paused:
    """Measures as `complete` does; how good a trial is at a rung is a matter of luck, whatever its size."""
    done = complete(request)
    if request.until is None:
        return done
    rung, first = request.until, done.evaluations[0]
    luck = random.Random(f"{request.trial_number} {rung.number}").random()
    result = RungResult("small", request.trial_number, rung.number, rung.epoch, luck, first.cost.inference_cost)
    return Paused(request.trial_number, result, tuple(e for e in done.evaluations if e.epochs <= rung.epoch))


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def test_trials_that_are_worse_at_a_rung_are_stopped_and_told_so(database: Database, tmp_path: Path) -> None:
    run = make_search(halving_config(), database, tmp_path, climb, limits=LIMITS)
    outcome = run_search(run)
    counts = count_trials(run.study)
    assert outcome.reason is StopReason.BUDGET
    assert outcome.message == f"all 20 trials are complete or stopped early ({counts.stopped})"
    assert counts.complete + counts.stopped == 20
    assert counts.stopped >= 5
    assert counts.pruned == 0
    results = load_rungs(database, "small")
    stopped = {result.trial_number for result in results if result.is_stopped}
    assert stopped == {trial.number for trial in run.study.trials if trial.state.name == "PRUNED"}
    assert {(result.rung, result.epoch) for result in results} == {(0, 2), (1, 3)}
    for trial in run.study.trials:
        own = [result for result in results if result.trial_number == trial.number]
        assert [result.is_stopped for result in own][:-1] == [False] * (len(own) - 1)
        if trial.number in stopped:
            assert "is not among the best 50% of the" in trial.user_attrs["stopped"]
            assert trial.values is None
        else:
            assert len(own) == 2
    assert [request.until is None for request in pool_of(run).submitted].count(True) == counts.complete


def test_stages_that_a_stopped_trial_finished_are_points(sqlite: Database, tmp_path: Path) -> None:
    run = make_search(halving_config(), sqlite, tmp_path, climb, limits=LIMITS)
    run_search(run)
    stopped_later = {result.trial_number for result in load_rungs(sqlite, "small") if result.is_stopped and result.rung}
    assert stopped_later
    measured = {trial.trial_number: trial for trial in load_measured_trials(sqlite, run.study)}
    assert {number for number, trial in measured.items() if trial.is_stopped} == stopped_later
    for number in stopped_later:
        assert [point.stage for point in measured[number].points] == [0]
    report = load_study_report(sqlite, "small")
    assert [p.key for p in report.points] == [point.key for trial in measured.values() for point in trial.points]
    assert len(points_of(run.study).trials) == len(report.points)


@pytest.mark.parametrize("dies_in", ["tell_stopped", "_submit"])
def test_decision_is_made_once_whatever_is_killed(
    dies_in: str, sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def run_and_die(after: int) -> None:
        original: Callable[..., object] = getattr(search.loop, dies_in)
        n_calls = 0

        def die(*args: object) -> object:
            nonlocal n_calls
            n_calls += 1
            if n_calls > after:
                raise Killed
            return original(*args)

        with monkeypatch.context() as patch:
            patch.setattr(search.loop, dies_in, die)
            run_search(make_search(halving_config(), sqlite, tmp_path, climb, limits=LIMITS))

    n_killed = 0
    for after in range(40):
        try:
            run_and_die(after)
        except Killed:
            n_killed += 1
    last = make_search(halving_config(), sqlite, tmp_path, climb, limits=LIMITS)
    run_search(last)
    assert n_killed >= 4
    counts = count_trials(last.study)
    assert counts.complete + counts.stopped == counts.total == 20
    results = load_rungs(sqlite, "small")
    stopped = {result.trial_number for result in results if result.is_stopped}
    assert stopped == {trial.number for trial in last.study.trials if trial.state.name == "PRUNED"}
    assert len({(result.trial_number, result.rung) for result in results}) == len(results)


def test_interrupted_trial_goes_on_from_the_rung_that_it_reached(sqlite: Database, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    def climb_and_note(request: EvaluationRequest) -> Completed | Paused:
        seen.append((request.trial_number, None if request.until is None else request.until.number))
        if len(seen) == 4 and not interrupts.is_requested:
            os.kill(os.getpid(), signal.SIGINT)
        return climb(request)

    interrupts = Interrupts()
    first = make_search(halving_config(), sqlite, tmp_path, climb_and_note, limits=LIMITS, interrupts=interrupts)
    with interrupts.watch():
        assert run_search(first).reason is StopReason.INTERRUPTED
    known = {(result.trial_number, result.rung) for result in load_rungs(sqlite, "small")}
    assert known == set(seen[:3])
    seen.clear()
    run_search(make_search(halving_config(), sqlite, tmp_path, climb_and_note, limits=LIMITS))
    assert not known & set(seen), "no rung is climbed twice"


def test_stop_of_a_trial_that_was_finished_elsewhere_is_not_told(sqlite: Database, tmp_path: Path) -> None:
    run = make_search(halving_config(), sqlite, tmp_path, climb)
    trial = run.study.ask()
    run.study.tell(trial.number, [0.5, 0.1])
    assert not tell_stopped(run.study, trial, run.config, "too late", None)
    assert run.study.trials[0].state.name == "COMPLETE"


def test_fractions_beyond_their_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"early_stopping.kept is 1.5; expected .*"):
        halving_config(kept=1.5)
    with pytest.raises(ConfigError, match=r"early_stopping.first_rung is 0; expected .*"):
        halving_config(first_rung=0)


def test_design_that_was_stopped_is_not_trained_again(sqlite: Database, tmp_path: Path) -> None:
    first = make_search(halving_config(), sqlite, tmp_path, climb, limits=LIMITS)
    run_search(first)
    number = next(trial.number for trial in first.study.trials if trial.state.name == "PRUNED")
    first.study.enqueue_trial(first.study.trials[number].params)
    again = make_search(halving_config(), sqlite, tmp_path, climb, limits=Limits(21, 63, None))
    run_search(again)
    assert pool_of(again).numbers == []
    last = again.study.trials[-1]
    assert last.user_attrs["stopped"] == f"the same design as trial {number}, which was stopped early"
    assert count_trials(again.study).stopped == count_trials(first.study).stopped


def test_study_of_hardware_metrics_is_refused() -> None:
    part = {"workers:": "early_stopping: {}\nworkers:"}
    expected = r"early_stopping is set; expected left out in a study of lut, for it compares trials by accuracy"
    with pytest.raises(ConfigError, match=expected):
        small_config(**{"workers:": "objectives: {lut: {}}\nearly_stopping: {}\nworkers:"})
    assert small_config(**part).early_stopping is not None


def test_study_without_early_stopping_is_the_same_as_before() -> None:
    assert halving_config().fingerprint != small_config().fingerprint
    assert halving_config().fingerprint == halving_config(first_rung=1 / 3, kept=0.5).fingerprint


def test_why_a_trial_has_no_network_is_told_to_who_asks_for_it(database: Database, tmp_path: Path) -> None:
    run = make_search(halving_config(), database, tmp_path, climb, limits=LIMITS)
    run_search(run)
    bare = next(trial for trial in run.study.get_trials() if trial.user_attrs.get("stopped"))
    other = run.study.ask()
    tell_unbuildable(run.study, other, "blocks[1] is too long; expected less")
    failed, running = run.study.ask(), run.study.ask()
    tell_failure(run.study, failed, "ValueError", "Traceback\nValueError: no luck")
    ends = [describe_other_end(database, "small", number) for number in (bare.number, other.number, failed.number)]
    assert str(ends[0]).startswith("it was stopped early: ")
    assert ends[1:] == ["it could not be built: blocks[1] is too long; expected less", "it failed: ValueError: no luck"]
    assert describe_other_end(database, "small", running.number) == "it runs"
    assert describe_other_end(database, "small", 999) is None
