import optuna
import pytest

from search.budget import Limits, choose_limits, describe_budget, describe_shortfall
from search.reports.study_report import TrialCounts
from search.study import open_study, tell_unbuildable
from storage.database import Database
from tests.search.search_study import DATA, small_config


@pytest.fixture
def study(sqlite: Database) -> optuna.Study:
    """A study with two failed trials."""
    study = open_study(small_config(), sqlite, DATA)
    for _ in range(2):
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    return study


def test_budget_comes_from_the_study_file(study: optuna.Study) -> None:
    assert choose_limits(study, small_config(), None, None, None) == Limits(6, 18, None)


def test_wall_clock_comes_from_the_study_file_in_minutes(study: optuna.Study) -> None:
    config = small_config(**{"trials: 6": "wall_clock_minutes: 1.5, trials: 6"})
    assert choose_limits(study, config, None, None, None).time_limit_s == 90
    assert choose_limits(study, config, None, None, 20.0).time_limit_s == 20


def test_command_says_how_many_trials(study: optuna.Study) -> None:
    assert choose_limits(study, small_config(), 4, None, None) == Limits(4, 12, None)


def test_extension_adds_to_what_is_complete_and_survives_an_interruption(study: optuna.Study) -> None:
    extended = choose_limits(study, small_config(), None, 10, None)
    assert extended == Limits(10, 32, None)
    assert choose_limits(study, small_config(), None, None, None) == extended


def test_running_trials_count_as_if_complete_until_they_end() -> None:
    limits = Limits(6, 18, None)
    assert limits.wants_more(TrialCounts(complete=4, pruned=0, failed=0, running=1, waiting=0))
    assert not limits.wants_more(TrialCounts(complete=4, pruned=0, failed=0, running=2, waiting=0))


def test_no_more_is_asked_when_too_many_could_not_be_built() -> None:
    assert not Limits(6, 18, None).wants_more(TrialCounts(complete=1, pruned=17, failed=0, running=0, waiting=0))


def test_waiting_trials_are_still_to_be_asked() -> None:
    assert Limits(6, 18, None).wants_more(TrialCounts(complete=1, pruned=16, failed=0, running=0, waiting=3))


def test_unused_budget_is_explained() -> None:
    counts = TrialCounts(complete=1, pruned=16, failed=1, running=0, waiting=0)
    assert describe_budget(counts, Limits(6, 18, None)) == (
        "1 of 6 trials are complete after 18 were asked: 16 designs could not be built and 1 failed"
    )


def test_a_space_of_which_little_can_be_built_is_warned_of_with_the_reason(sqlite: Database) -> None:
    study = open_study(small_config(), sqlite, DATA)
    for kernel in (9, 7, 5):
        tell_unbuildable(study, study.ask(), f"blocks[1].kernel_size is {kernel}; expected at most 3")
    assert describe_shortfall(study, Limits(2, 6, None)) is None, "others are still to be asked"
    assert describe_shortfall(study, Limits(2, 3, None)) == (
        "warning: 3 of 3 designs could not be built. The most frequent reason: blocks[1].kernel_size is 9; expected at "
        "most 3. Narrow the space, or ask for N more trials with --extend N"
    )


def test_no_such_warning_where_something_else_ended_the_search(sqlite: Database) -> None:
    study = open_study(small_config(), sqlite, DATA)
    tell_unbuildable(study, study.ask(), "blocks[1].kernel_size is 9; expected at most 3")
    study.ask()
    assert describe_shortfall(study, Limits(2, 6, None)) is None, "interrupted, with one trial running"
    failed = open_study(small_config(**{"name: small": "name: failed"}), sqlite, DATA)
    for _ in range(3):
        failed.tell(failed.ask(), state=optuna.trial.TrialState.FAIL)
    assert describe_shortfall(failed, Limits(1, 3, None)) is None
    pruned = open_study(small_config(**{"name: small": "name: pruned"}), sqlite, DATA)
    pruned.tell(pruned.ask(), state=optuna.trial.TrialState.PRUNED)
    assert describe_shortfall(pruned, Limits(1, 1, None)) is None, "somebody else pruned it, without a reason"
