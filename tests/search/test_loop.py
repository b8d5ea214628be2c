import os
import signal
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.budget import Limits
from search.loop import StopReason, run_search
from search.processes.driver_lease import LeaseLostError
from search.processes.interrupts import Interrupts
from search.reports.study_report import count_trials
from search.study import ask_trial
from storage.database import Database
from storage.evaluations import load_trial_evaluations
from tests.search.search_study import complete, fail, make_search, pool_of, small_config
from workers.requests import Completed, EvaluationRequest, Failed


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


class StopAfter:
    """Completes trials, and sends a real Ctrl-C instead of completing the one after."""

    def __init__(self, n_trials: int) -> None:
        self.n_left = n_trials

    def __call__(self, request: EvaluationRequest) -> Completed:
        if self.n_left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        self.n_left -= 1
        return complete(request)


def test_every_trial_is_told_complete_with_the_values_of_its_last_stage(database: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), database, tmp_path, complete)
    outcome = run_search(search)
    assert outcome.reason is StopReason.BUDGET
    assert states(search.study) == ["COMPLETE"] * 6
    for trial in search.study.get_trials():
        last = load_trial_evaluations(database, "small", trial.number)[-1]
        assert last.stage == 1
        assert trial.values == [last.accuracy, last.cost.inference_cost]
        assert trial.user_attrs["bit_ops"] == last.cost.bit_ops
        assert trial.user_attrs["epochs"] == 5
        assert len(trial.user_attrs["stage_accuracies"]) == 2


def test_objectives_are_named_and_directed(sqlite: Database, tmp_path: Path) -> None:
    study = make_search(small_config(), sqlite, tmp_path, complete).study
    assert study.metric_names == ["accuracy", "inference_cost"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_workers_get_the_design_a_seed_of_their_own_and_the_trial_s_number(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete)
    run_search(search)
    requests = pool_of(search).submitted
    assert [request.trial_number for request in requests] == list(range(6))
    assert [request.seed for request in requests] == [3 + number for number in range(6)]
    assert requests[0].design.model_dump_json() == search.study.trials[0].user_attrs["design"]


def test_one_trial_more_than_capacity_is_in_flight(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, capacity=3)
    run_search(search)
    assert pool_of(search).most_in_flight == 4


def test_no_more_trials_are_in_flight_than_the_budget_needs(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, capacity=50)
    run_search(search)
    assert pool_of(search).most_in_flight == 6


def test_max_concurrent_bounds_the_trials_in_flight(sqlite: Database, tmp_path: Path) -> None:
    config = small_config(max_attempts="max_concurrent: 2, max_attempts")
    search = make_search(config, sqlite, tmp_path, complete, capacity=8)
    run_search(search)
    assert pool_of(search).most_in_flight == 2


def test_target_below_the_least_network_is_told_pruned_and_never_trained(sqlite: Database, tmp_path: Path) -> None:
    stage = "{kind: cost_aware, inference_cost: 1.0e-6, epochs: 2}"
    config = small_config(**{"{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}": stage})
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    assert not pool_of(search).submitted
    reason = search.study.trials[0].user_attrs["unbuildable"]
    assert "pruning.stages[0].inference_cost is 1e-06; expected at least" in reason


def test_unbuildable_design_is_told_pruned_with_the_reason_and_never_trained(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config("{choices: [2, 3]}"), sqlite, tmp_path, complete)
    run_search(search)
    pruned = search.study.get_trials(states=(TrialState.PRUNED,))
    assert pruned
    assert "space.blocks[2].kernel_size is 3; expected a divisor" in pruned[0].user_attrs["unbuildable"]
    assert not {trial.number for trial in pruned} & set(pool_of(search).numbers)
    assert count_trials(search.study).complete == 6


def test_failure_is_told_fail_with_its_traceback(sqlite: Database, tmp_path: Path) -> None:
    def fail_second(request: EvaluationRequest) -> Completed | Failed:
        return fail(request) if request.trial_number == 1 else complete(request)

    search = make_search(small_config(), sqlite, tmp_path, fail_second)
    outcome = run_search(search)
    failed = search.study.trials[1]
    assert failed.state is TrialState.FAIL
    assert failed.values is None
    assert failed.user_attrs["failure"] == "ValueError"
    assert failed.user_attrs["traceback"] == "Traceback:\nValueError: no luck"
    assert outcome.reason is StopReason.BUDGET
    assert count_trials(search.study).complete == 6


def test_three_failures_of_one_kind_in_a_row_stop_the_search_with_the_reason(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, fail, capacity=1)
    outcome = run_search(search)
    assert outcome.reason is StopReason.FAILURES
    assert outcome.message == "3 trials in a row failed with ValueError"
    assert states(search.study)[:3] == ["FAIL"] * 3


def test_failures_of_several_kinds_end_at_three_times_the_budget(sqlite: Database, tmp_path: Path) -> None:
    def fail_in_turn(request: EvaluationRequest) -> Failed:
        return fail(request, ["ValueError", "KeyError"][request.trial_number % 2])

    search = make_search(small_config(), sqlite, tmp_path, fail_in_turn)
    outcome = run_search(search)
    assert outcome.reason is StopReason.BUDGET
    assert states(search.study) == ["FAIL"] * 18
    assert "0 of 6 trials are complete after 18 were asked" in outcome.message


def test_success_between_failures_ends_the_row(sqlite: Database, tmp_path: Path) -> None:
    def fail_two_of_three(request: EvaluationRequest) -> Completed | Failed:
        return complete(request) if request.trial_number % 3 == 2 else fail(request)

    search = make_search(small_config(), sqlite, tmp_path, fail_two_of_three)
    assert run_search(search).reason is StopReason.BUDGET


def test_trial_that_lost_its_worker_starts_again_under_its_number(sqlite: Database, tmp_path: Path) -> None:
    lost: list[int] = []

    def lose_once(request: EvaluationRequest) -> Completed | Failed:
        if request.trial_number == 1 and len(lost) < 2:
            lost.append(1)
            return fail(request, "WorkerCrashedError", is_infrastructure=True)
        return complete(request)

    search = make_search(small_config(), sqlite, tmp_path, lose_once)
    run_search(search)
    assert states(search.study) == ["COMPLETE"] * 6
    assert sorted(pool_of(search).numbers) == [0, 1, 1, 1, 2, 3, 4, 5]


def test_trial_that_always_loses_its_worker_is_told_fail_after_max_attempts(sqlite: Database, tmp_path: Path) -> None:
    def lose_first(request: EvaluationRequest) -> Completed | Failed:
        is_first = request.trial_number == 0
        return fail(request, "OutOfMemoryError", is_infrastructure=True) if is_first else complete(request)

    search = make_search(small_config(), sqlite, tmp_path, lose_first)
    run_search(search)
    assert pool_of(search).numbers.count(0) == 3
    assert search.study.trials[0].state is TrialState.FAIL
    assert search.study.trials[0].user_attrs["failure"] == "OutOfMemoryError"


def test_design_that_is_complete_already_is_copied_and_not_trained(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    first = search.study.trials[0]
    search.study.enqueue_trial(first.params)
    again = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(2, 6, None))
    run_search(again)
    copy = again.study.trials[1]
    assert copy.state is TrialState.COMPLETE
    assert copy.values == first.values
    assert copy.user_attrs["copied_from"] == 0
    assert pool_of(again).numbers == []
    copied = load_trial_evaluations(sqlite, "small", 1)
    assert [(e.stage, e.training_seconds) for e in copied] == [(0, 0.0), (1, 0.0)]
    assert copied[-1].checkpoint == load_trial_evaluations(sqlite, "small", 0)[-1].checkpoint


@pytest.mark.parametrize("n_before", [0, 1, 4])
def test_interrupted_trials_are_adopted_by_the_next_run(database: Database, tmp_path: Path, n_before: int) -> None:
    interrupts = Interrupts()
    first = make_search(small_config(), database, tmp_path, StopAfter(n_before), interrupts=interrupts)
    with interrupts.watch():
        assert run_search(first).reason is StopReason.INTERRUPTED
    left = first.study.get_trials(states=(TrialState.RUNNING,))
    assert 1 <= len(left) <= 3
    second = make_search(small_config(), database, tmp_path, complete)
    run_search(second)
    assert states(second.study) == ["COMPLETE"] * 6
    resubmitted = {request.trial_number: request for request in pool_of(second).submitted}
    for trial in left:
        assert resubmitted[trial.number].design.model_dump_json() == trial.user_attrs["design"]
        assert second.study.trials[trial.number].params == trial.params
    assert len(pool_of(second).numbers) == 6 - n_before


def test_trial_that_was_never_fully_asked_keeps_its_values_and_is_asked_for_the_rest(
    sqlite: Database, tmp_path: Path
) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete)
    drawn = search.study.ask().suggest_int("space.blocks[1].out_channels", 4, 64)
    run_search(search)
    first = search.study.trials[0]
    assert first.params["space.blocks[1].out_channels"] == drawn
    assert len(first.params) > 1
    assert f'"out_channels":{drawn}' in first.user_attrs["design"]
    assert states(search.study) == ["COMPLETE"] * 6
    assert sorted(pool_of(search).numbers) == list(range(6))


def test_trial_that_was_never_fully_asked_and_cannot_be_built_is_told_pruned(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config("{choices: [2, 3]}"), sqlite, tmp_path, complete)
    search.study.enqueue_trial({"space.blocks[2].kernel_size": 3})
    search.study.ask()
    run_search(search)
    assert search.study.trials[0].state is TrialState.PRUNED
    assert "space.blocks[2].kernel_size is 3" in search.study.trials[0].user_attrs["unbuildable"]
    assert 0 not in pool_of(search).numbers


def test_adopted_trial_of_a_design_that_is_complete_by_now_is_copied(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    run_search(search)
    search.study.enqueue_trial(search.study.trials[0].params)
    search.study.ask()
    again = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(2, 6, None))
    run_search(again)
    assert again.study.trials[1].user_attrs["copied_from"] == 0
    assert pool_of(again).numbers == []


def test_trial_that_was_told_complete_by_hand_is_not_copied(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None))
    by_hand = ask_trial(search.study, search.config.search_space)
    assert by_hand is not None
    search.study.tell(by_hand.number, [0.9, 0.1])
    search.study.enqueue_trial(search.study.trials[0].params)
    search.limits = Limits(2, 6, None)
    run_search(search)
    assert "copied_from" not in search.study.trials[1].user_attrs
    assert pool_of(search).numbers == [1]


def test_time_limit_leaves_running_trials_to_the_next_run(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(6, 18, 0.0))
    assert run_search(search).reason is StopReason.TIME_LIMIT
    assert pool_of(search).numbers == []
    search.limits = replace(search.limits, time_limit_s=None)
    assert run_search(search).reason is StopReason.BUDGET


def test_result_of_a_trial_that_was_finished_elsewhere_is_kept_but_not_told(sqlite: Database, tmp_path: Path) -> None:
    notices: list[str] = []
    search = make_search(small_config(), sqlite, tmp_path, complete, on_notice=notices.append)

    def finish_first_elsewhere(request: EvaluationRequest) -> Completed:
        if request.trial_number == 0:
            search.study.tell(0, state=TrialState.FAIL)
        return complete(request)

    pool_of(search).evaluate = finish_first_elsewhere
    run_search(search)
    assert search.study.trials[0].state is TrialState.FAIL
    assert len(load_trial_evaluations(sqlite, "small", 0)) == 2
    assert notices == ["trial 0 was finished elsewhere; its result is kept, but not told"]


def test_search_ends_when_another_driver_took_the_study(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete)
    search.lease._is_lost = True
    with pytest.raises(LeaseLostError, match="study small was taken over by another driver"):
        run_search(search)
