"""Studies that ask for hardware metrics: when a trial is told, what with, and what happens where an estimate is not."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.budget import Limits
from search.hardware_estimates import HardwareEstimates, describe_unpruned, study_target
from search.loop import Search, StopReason, run_search
from search.processes.interrupts import Interrupts
from search.promotion import choose_winners
from search.reports.study_report import StudyReport, load_study_report
from search.study import ask_trial
from spaces.architecture import ArchitectureConfig
from spaces.blocks import DepthwiseSeparable
from spaces.metrics import LUT, THROUGHPUT
from spaces.search_space import Design
from spaces.study_config import PromotionPart
from storage.database import Database
from storage.estimates import make_estimate_key
from storage.records import Estimate
from tests.search.estimate_maker import (
    BOARD,
    End,
    estimate_by_formula,
    estimate_maker,
    fail,
    finish,
    make_all,
    refuse,
)
from tests.search.search_study import complete, hardware_config, make_search, points_of, pool_of, small_config
from tests.search.search_study import fail as fail_training
from workers.requests import Completed, EvaluationRequest, Failed

BOUND = "throughput_fps: {at_least: 200000}"


def design_of(search: Search, number: int) -> Design:
    return Design.model_validate_json(search.study.trials[number].user_attrs["design"])


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def same_front(report: StudyReport, study: optuna.Study) -> bool:
    """Whether Optuna, which reads the constraints itself, has the same values on its front."""
    ours = {tuple(objective.metric.read(point) for objective in report.objectives) for point in report.front}
    return ours == {tuple(trial.values) for trial in points_of(study).best_trials}


class MakeWhenIdle:
    """Makes all estimates each time when nothing trains any more, and remembers how many trials waited for it."""

    def __init__(self, database: Database, end: End | None = None) -> None:
        self.database, self.end = database, end
        self.n_waited: list[int] = []

    def __call__(self, search: Search) -> None:
        if search.waiting and not search.running:
            self.n_waited.append(len(search.waiting))
            make_all(self.database, *([self.end] if self.end else []))


def test_trial_is_told_when_both_its_training_and_its_estimate_are_there(database: Database, tmp_path: Path) -> None:
    config = hardware_config("lut: {}, latency_us: {}", f"{BOUND}, bram: {{at_most: 4}}")
    search = make_search(config, database, tmp_path, complete)
    with estimate_maker(database, delay_s=0.02):
        assert run_search(search).reason is StopReason.BUDGET
    assert search.study.metric_names == ["accuracy", "lut", "latency_us"]
    assert states(search.study) == ["COMPLETE"] * 6
    for trial in search.study.trials:
        expected = estimate_by_formula(design_of(search, trial.number).architecture)
        assert trial.values == [trial.user_attrs["stage_accuracies"][-1], expected.lut, expected.latency_us]
        assert trial.user_attrs["dsp"] == expected.dsp
        assert trial.user_attrs["throughput_fps"] == expected.throughput_fps
        assert trial.constraints == {
            "throughput_fps": (200_000 - expected.throughput_fps) / 200_000,
            "bram": (expected.bram_18k - 4) / 4,
        }


def complete_without_half_of_the_channels(request: EvaluationRequest) -> Completed:
    """As a structured stage ends: its network is another architecture."""
    *before, last = complete(request).evaluations
    blocks = tuple(
        block.model_copy(update={"out_channels": block.out_channels // 2})
        if isinstance(block, DepthwiseSeparable)
        else block
        for block in request.design.architecture.blocks
    )
    return Completed(request.trial_number, (*before, replace(last, architecture=ArchitectureConfig(blocks=blocks))))


def test_stage_that_removes_channels_has_an_estimate_of_its_own(database: Database, tmp_path: Path) -> None:
    threshold = "{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}"
    config = hardware_config(**{threshold: "{kind: structured, fraction: 0.5, epochs: 2}"})
    search = make_search(config, database, tmp_path, complete_without_half_of_the_channels)
    with estimate_maker(database, delay_s=0.02):
        assert run_search(search).reason is StopReason.BUDGET
    report = load_study_report(database, "small")
    assert len(report.trials) == 6
    for trial in report.trials:
        dense, halved = trial.points
        assert dense.hardware == estimate_by_formula(trial.design.architecture)
        assert halved.hardware == estimate_by_formula(halved.architecture)
        assert halved.hardware.lut < dense.hardware.lut
        assert search.study.trials[trial.trial_number].values[1] == halved.hardware.lut
    assert {point.stage for point in report.front} >= {1}
    assert same_front(report, search.study)
    search.study.enqueue_trial(search.study.trials[0].params)
    again = make_search(config, database, tmp_path, complete, limits=Limits(7, 7, None))
    run_search(again)
    assert pool_of(again).numbers == []
    assert again.study.trials[6].values == again.study.trials[0].values


def test_network_that_finn_refuses_without_its_channels_is_pruned(sqlite: Database, tmp_path: Path) -> None:
    def refuse_small(database: Database, estimate: Estimate) -> None:
        asked = ArchitectureConfig.model_validate_json(estimate.architecture_json)
        (refuse if asked not in designs else finish)(database, estimate)

    search = make_search(
        hardware_config(), sqlite, tmp_path, complete_without_half_of_the_channels, limits=Limits(1, 1, None)
    )
    designs: list[ArchitectureConfig] = []

    def on_change(search: Search) -> None:
        designs.extend(request.design.architecture for request in search.requests.values())
        make_all(sqlite, refuse_small)

    search.on_change = on_change
    run_search(search)
    assert states(search.study) == ["PRUNED"]
    assert search.study.trials[0].user_attrs["unbuildable"] == "step_streamline: unmapped layers"


def test_what_pruning_of_weights_cannot_lower_is_said() -> None:
    assert describe_unpruned(small_config()) is None
    said = describe_unpruned(hardware_config("lut: {}, latency_us: {}", BOUND))
    assert said is not None
    assert said.startswith(
        "pruning.stages[0] is of kind threshold: zero weights do not lower LUT, latency and throughput"
    )
    structured = "{kind: structured, fraction: 0.5, epochs: 2}"
    threshold = "{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}"
    assert describe_unpruned(hardware_config(**{threshold: structured})) is None


def test_study_that_asks_for_no_hardware_asks_for_no_estimate(sqlite: Database, tmp_path: Path) -> None:
    config = hardware_config("", "inference_cost: {at_most: 0.002}")
    search = make_search(config, sqlite, tmp_path, complete)
    run_search(search)
    assert make_all(sqlite) == 0
    assert {"inference_cost"} == {name for trial in search.study.trials for name in trial.constraints}
    report = load_study_report(sqlite, "small")
    feasible = [report.is_feasible(trial.last) for trial in report.trials]
    assert report.n_infeasible == feasible.count(False)
    assert feasible == [trial.values[1] <= 0.002 for trial in search.study.trials]


def test_training_goes_on_while_estimates_are_missing_up_to_a_bound(sqlite: Database, tmp_path: Path) -> None:
    on_change = MakeWhenIdle(sqlite)
    search = make_search(
        hardware_config(), sqlite, tmp_path, complete, on_change=on_change, limits=Limits(20, 60, None), capacity=2
    )
    run_search(search)
    assert states(search.study) == ["COMPLETE"] * 20
    assert 4 <= max(on_change.n_waited) <= 4 + 3


def test_estimate_is_asked_for_before_the_training_ends(sqlite: Database, tmp_path: Path) -> None:
    made: list[int] = []

    def make_then_complete(request: EvaluationRequest) -> Completed:
        made.append(make_all(sqlite))
        return complete(request)

    search = make_search(hardware_config(), sqlite, tmp_path, make_then_complete)
    run_search(search)
    assert made[0] == 3
    assert states(search.study) == ["COMPLETE"] * 6


def test_second_study_of_the_same_networks_makes_no_estimate(sqlite: Database, tmp_path: Path) -> None:
    first = make_search(hardware_config(), sqlite, tmp_path, complete)
    with estimate_maker(sqlite) as made:
        run_search(first)
    assert first.estimates is not None
    assert first.estimates.count() == (len(set(made)), 0)
    again = make_search(hardware_config(**{"name: small": "name: other"}), sqlite, tmp_path, complete)
    run_search(again)
    assert again.estimates is not None
    assert again.estimates.describe() == f"estimates: 0 made, {len(made)} from earlier"
    assert [trial.values for trial in again.study.trials] == [trial.values for trial in first.study.trials]


def test_network_that_finn_is_known_to_refuse_is_pruned_without_training(sqlite: Database, tmp_path: Path) -> None:
    config = hardware_config()
    first = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 1, None))
    run_search(_with(first, MakeWhenIdle(sqlite, refuse)))
    first.study.enqueue_trial(first.study.trials[0].params)
    again = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 2, None))
    run_search(again)
    assert states(again.study) == ["PRUNED", "PRUNED"]
    assert pool_of(again).numbers == []
    assert again.study.trials[1].user_attrs["unbuildable"] == "step_streamline: unmapped layers"


def test_network_of_floats_is_pruned_without_training_and_asks_nobody(sqlite: Database, tmp_path: Path) -> None:
    floats = {"activation_bit_width: {int: [2, 8]}": "activation_bit_width: 32"}
    search = make_search(hardware_config(**floats), sqlite, tmp_path, complete, limits=Limits(1, 1, None))
    run_search(search)
    assert states(search.study) == ["PRUNED"]
    assert pool_of(search).numbers == []
    assert search.study.trials[0].user_attrs["unbuildable"].startswith("the network has 32-bit weights or activations")
    assert search.estimates is not None
    assert search.estimates.count() == (0, 0)


def test_network_that_finn_refuses_after_its_training_is_pruned_with_the_reason(
    sqlite: Database, tmp_path: Path
) -> None:
    notices: list[str] = []
    search = make_search(
        hardware_config(), sqlite, tmp_path, complete, limits=Limits(1, 1, None), on_notice=notices.append
    )
    run_search(_with(search, MakeWhenIdle(sqlite, refuse)))
    assert search.study.trials[0].state is TrialState.PRUNED
    assert search.study.trials[0].user_attrs["unbuildable"] == "step_streamline: unmapped layers"
    assert notices == ["trial 0 was trained, but cannot be built: step_streamline: unmapped layers"]


def test_failed_estimate_fails_its_trial_and_three_in_a_row_stop_the_search(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(hardware_config(), sqlite, tmp_path, complete)
    outcome = run_search(_with(search, MakeWhenIdle(sqlite, fail)))
    assert outcome.reason is StopReason.FAILURES
    assert outcome.message == "3 trials in a row failed with EstimateFailed"
    failed = search.study.trials[0]
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["failure"] == "EstimateFailed"
    assert failed.user_attrs["traceback"] == "took longer than 60 s"


def test_estimate_that_fails_beside_training_is_made_again_when_nothing_trains(
    sqlite: Database, tmp_path: Path
) -> None:
    def fail_beside(request: EvaluationRequest) -> Completed:
        make_all(sqlite, fail)
        return complete(request)

    notices: list[str] = []
    search = make_search(hardware_config(), sqlite, tmp_path, fail_beside, on_notice=notices.append)
    idle = MakeWhenIdle(sqlite)
    run_search(_with(search, idle))
    assert states(search.study) == ["COMPLETE"] * 6
    assert len(pool_of(search).numbers) == 6
    assert notices[0] == (
        "the estimate of trial 0 failed, and is made again when no trial trains: took longer than 60 s"
    )
    assert max(idle.n_waited) <= 3  # no other trial starts meanwhile


def test_failed_estimate_is_made_anew_for_the_next_trial_that_asks(sqlite: Database, tmp_path: Path) -> None:
    config = hardware_config()
    first = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 1, None))
    run_search(_with(first, MakeWhenIdle(sqlite, fail)))
    first.study.enqueue_trial(first.study.trials[0].params)
    again = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 2, None))
    run_search(_with(again, MakeWhenIdle(sqlite)))
    assert states(again.study) == ["FAIL", "COMPLETE"]


def test_trial_whose_training_fails_is_told_without_its_estimate(sqlite: Database, tmp_path: Path) -> None:
    def fail_first(request: EvaluationRequest) -> Completed | Failed:
        return fail_training(request) if request.trial_number == 0 else complete(request)

    search = make_search(hardware_config(), sqlite, tmp_path, fail_first)
    run_search(_with(search, MakeWhenIdle(sqlite)))
    assert states(search.study) == ["FAIL"] + ["COMPLETE"] * 6


def test_same_design_is_copied_with_its_estimate(sqlite: Database, tmp_path: Path) -> None:
    config = hardware_config()
    first = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 1, None))
    run_search(_with(first, MakeWhenIdle(sqlite)))
    first.study.enqueue_trial(first.study.trials[0].params)
    again = make_search(config, sqlite, tmp_path, complete, limits=Limits(2, 2, None))
    run_search(again)
    assert pool_of(again).numbers == []
    original, copy = again.study.trials
    assert copy.user_attrs["copied_from"] == 0
    assert copy.values == original.values
    assert copy.user_attrs["lut"] == original.user_attrs["lut"]


def test_interrupted_trials_that_wait_for_an_estimate_are_adopted(database: Database, tmp_path: Path) -> None:
    def interrupt_when_waiting(search: Search) -> None:
        if len(search.waiting) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    interrupts = Interrupts()
    config = hardware_config()
    first = make_search(config, database, tmp_path, complete, interrupts=interrupts, on_change=interrupt_when_waiting)
    with interrupts.watch():
        assert run_search(first).reason is StopReason.INTERRUPTED
    left = [trial.number for trial in first.study.get_trials(states=(TrialState.RUNNING,))]
    assert {0, 1} <= set(left)
    assert "COMPLETE" not in states(first.study)
    second = make_search(config, database, tmp_path, complete)
    with estimate_maker(database):
        run_search(second)
    assert states(second.study) == ["COMPLETE"] * 6
    assert sorted(pool_of(second).numbers) == list(range(6))


def test_end_says_how_many_trials_still_wait_for_estimates(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(hardware_config(), sqlite, tmp_path, complete, limits=Limits(1, 1, 0.5))
    outcome = run_search(search)
    assert outcome.reason is StopReason.TIME_LIMIT
    assert "is reached; 1 trial is trained and still without FINN's estimate; run again" in outcome.message


def test_search_ends_with_the_reason_when_nobody_makes_estimates_any_more(sqlite: Database, tmp_path: Path) -> None:
    problem = "the estimate worker ended with exit code 1: no disk; see estimate_worker.log"
    search = make_search(hardware_config(), sqlite, tmp_path, complete, find_estimate_problem=lambda: problem)
    outcome = run_search(search)
    assert outcome.reason is StopReason.NO_ESTIMATES
    assert outcome.message.startswith(f"{problem}; trials 0 are trained and wait for their estimates: run again")
    search.find_estimate_problem = lambda: None
    again = make_search(hardware_config(), sqlite, tmp_path, complete, on_change=MakeWhenIdle(sqlite))
    run_search(again)
    assert states(again.study) == ["COMPLETE"] * 6


def test_estimates_that_are_all_there_need_nobody_to_make_them(sqlite: Database, tmp_path: Path) -> None:
    with estimate_maker(sqlite):
        run_search(make_search(hardware_config(), sqlite, tmp_path, complete))
    other = hardware_config(**{"name: small": "name: other"})
    again = make_search(other, sqlite, tmp_path, complete, find_estimate_problem=lambda: "nobody is there")
    assert run_search(again).reason is StopReason.BUDGET


def test_infeasible_trials_are_complete_but_neither_on_the_front_nor_promoted(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(hardware_config("lut: {}", BOUND), sqlite, tmp_path, complete)
    run_search(_with(search, MakeWhenIdle(sqlite)))
    report = load_study_report(sqlite, "small")
    infeasible = {point.trial_number for point in report.points if not report.is_feasible(point)}
    assert infeasible == {point.trial_number for point in report.points if THROUGHPUT.read(point) < 200_000}
    assert 0 < len(infeasible) < 6
    assert report.front
    assert not {trial.trial_number for trial in report.front} & infeasible
    assert same_front(report, search.study)
    assert {point.stage for point in report.front} == {0}  # pruned networks have the same LUT and less accuracy
    luts = [LUT.read(point) for point in report.front]
    assert luts == sorted(luts)
    winners = choose_winners(replace(report, promotion=PromotionPart(top=6)))
    promoted = {point.trial_number for point in winners.points}
    assert promoted
    assert not promoted & infeasible


def test_nothing_is_promoted_where_no_trial_keeps_the_constraints(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(hardware_config("lut: {}", "dsp: {at_most: 1}, lut: {at_most: 1}"), sqlite, tmp_path, complete)
    run_search(_with(search, MakeWhenIdle(sqlite)))
    report = load_study_report(sqlite, "small")
    assert report.front == ()
    assert report.hypervolume == 0.0
    choice = choose_winners(report)
    assert choice.points == ()
    assert choice.reason == "no trial keeps the constraints (LUT at most 1 and DSP at most 1): nothing is promoted"


def test_hypervolume_is_in_shares_of_the_board(sqlite: Database, tmp_path: Path) -> None:
    run_search(_with(make_search(hardware_config(), sqlite, tmp_path, complete), MakeWhenIdle(sqlite)))
    report = load_study_report(sqlite, "small")
    assert report.objectives[1].reference == BOARD.lut
    best = max(point.accuracy * (1 - LUT.read(point) / BOARD.lut) for point in report.points)
    assert best <= report.hypervolume <= 1


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
@pytest.mark.parametrize("objectives", ["lut: {}", "inference_cost: {}, throughput_fps: {}"])
def test_every_sampler_works_with_constraints_and_any_number_of_objectives(
    sqlite: Database, tmp_path: Path, sampler: str, objectives: str
) -> None:
    config = hardware_config(objectives, BOUND, **{"sampler: random": f"sampler: {sampler}"})
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(14, 42, None))
    run_search(_with(search, MakeWhenIdle(sqlite)))
    report = load_study_report(sqlite, "small")
    assert report.counts.complete == 14
    assert same_front(report, search.study)


def test_another_target_is_another_estimate(sqlite: Database, tmp_path: Path) -> None:
    config, scores = hardware_config(), hardware_config(**{"budget:": "fpga: {output: scores}\nbudget:"})
    assert scores.asks_for_hardware
    assert study_target(scores).output == "scores"
    asked = ask_trial(make_search(config, sqlite, tmp_path, complete).study, config.search_space)
    assert asked is not None
    keys = {make_estimate_key(asked.design.architecture, study_target(one)) for one in (config, scores)}
    assert len(keys) == 2
    for one in (config, scores):
        HardwareEstimates(sqlite, one).request(asked.design.architecture)
    assert make_all(sqlite) == 2


def _with(search: Search, on_change: MakeWhenIdle) -> Search:
    search.on_change = on_change
    return search
