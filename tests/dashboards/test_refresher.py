"""What the refresher writes into the study, and what it leaves alone."""

from __future__ import annotations

import threading

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna_dashboard import save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from dashboards.refresher import OWN_NOTES_HEADING, PARETO_FRONT_ID, Refresher, merge_notes
from search.optuna_storage import open_optuna_storage
from search.reports.study_report import load_study_report
from storage.database import Database
from tests.dashboards.demo_study import (
    HARDWARE,
    THREE_OBJECTIVES,
    complete_trial,
    make_demo_study,
    queue_demo_build,
)

NEVER = threading.Event()

N_STUDY_NOTES = 2
"""Of the study, and of the study of its points."""

N_STAGES = 2
"""Each measured trial has a point, with a note, for each."""


def test_first_refresh_writes_plot_study_notes_and_a_note_per_finished_trial(database: Database) -> None:
    make_demo_study(database, n_trials=6).ask()  # the seventh trial runs

    assert _refresh(open_optuna_storage(database), database) == 1 + N_STUDY_NOTES + 6 + 4 * N_STAGES


def test_what_is_up_to_date_is_not_written_again(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    storage = open_optuna_storage(database)
    _refresh(storage, database)
    before = _attributes(storage)

    written = _refresh(storage, database)

    assert written == 0
    assert _attributes(storage) == before
    assert any(PARETO_FRONT_ID in key for key in before)


def test_only_what_changed_is_written(database: Database) -> None:
    study = make_demo_study(database, n_trials=4)
    refresher = Refresher(open_optuna_storage(database), database, None)
    refresher.refresh(NEVER)

    queue_demo_build(database, "demo", 0)

    assert refresher.refresh(NEVER) == 2  # the study's note and trial 0's, but not the plot
    assert refresher.refresh(NEVER) == 0
    complete_trial(study, database)
    assert refresher.refresh(NEVER) >= 3


def test_a_trial_at_cost_0_on_the_front_has_its_plot_and_note(database: Database) -> None:
    study = make_demo_study(database, n_trials=4)
    number = complete_trial(study, database, pruned_density=0.0)
    storage = open_optuna_storage(database)

    assert _refresh(storage, database) == 1 + N_STUDY_NOTES + 5 + 3 * N_STAGES

    text = "".join(_attributes(storage).values())
    assert f"**Trial {number}**: accuracy" in text
    assert "inference cost η **0.000000** after stage 1, on the Pareto front with" in text
    assert "1 at cost 0 not drawn" in text


def test_each_objective_but_accuracy_has_a_plot(database: Database) -> None:
    make_demo_study(database, n_trials=6, goals=THREE_OBJECTIVES)
    storage = open_optuna_storage(database)

    assert _refresh(storage, database) == 2 + N_STUDY_NOTES + 6 + 4 * N_STAGES
    assert _refresh(storage, database) == 0

    study = storage.get_all_studies()[0]
    plots = get_plotly_graph_objects(storage.get_study_system_attrs(study._study_id))
    assert set(plots) == {PARETO_FRONT_ID, f"{PARETO_FRONT_ID}-throughput_fps"}
    assert "accuracy against LUT" in plots[PARETO_FRONT_ID]


def test_trial_notes_of_a_hardware_study_have_objectives_constraints_and_the_estimate(database: Database) -> None:
    make_demo_study(database, n_trials=6, goals=HARDWARE)
    storage = open_optuna_storage(database)

    _refresh(storage, database)

    text = "".join(_attributes(storage).values())
    assert "**Trial 0**: accuracy **48.87%**, LUT **5,199** after stage 1, on the Pareto front with stage 0." in text
    assert "at least 100,000 frames/s" in text
    assert "5,199 (1.2%)" in text


def test_a_trial_completed_by_hand_has_a_note_without_metrics(database: Database) -> None:
    study = make_demo_study(database, n_trials=3)
    study.tell(study.ask(), [0.9, 0.001])
    storage = open_optuna_storage(database)

    assert _refresh(storage, database) == 1 + N_STUDY_NOTES + 4 + N_STAGES
    assert "**Trial 3**: complete." in "".join(_attributes(storage).values())


def test_each_point_has_a_note_that_names_it_and_leads_to_its_trial(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    storage = open_optuna_storage(database)

    _refresh(storage, database)

    study, points = storage.get_all_studies()
    notes = "".join(map(str, storage.get_study_system_attrs(points._study_id).values()))
    link = f"[The note of trial 1](/dashboard/studies/{study._study_id}/trials?numbers=1)"
    assert f"**Trial 1 stage 0** of study `demo`. {link}" in notes
    assert "The points of study `demo`: the network at the end of each stage" in notes
    assert notes.count("**Trial ") == 4


def test_one_study_may_be_named_and_others_stay_untouched(database: Database) -> None:
    make_demo_study(database, "first", n_trials=3)
    make_demo_study(database, "second", n_trials=3)
    storage = open_optuna_storage(database)

    assert Refresher(storage, database, "second").refresh(NEVER) == 1 + N_STUDY_NOTES + 3 + N_STAGES
    assert _refresh(storage, database) == 1 + N_STUDY_NOTES + 3 + N_STAGES


def test_studies_of_other_programs_stay_untouched(database: Database) -> None:
    storage = open_optuna_storage(database)
    optuna.create_study(storage=storage, study_name="foreign").optimize(lambda trial: 1.0, n_trials=1)

    assert _refresh(storage, database) == 0


def test_refreshing_stops_between_two_notes(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    stop = threading.Event()
    stop.set()

    assert Refresher(open_optuna_storage(database), database, None).refresh(stop) <= 1 + N_STUDY_NOTES


def test_a_refresh_is_made_after_the_stop_unless_it_is_given_up(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    storage = open_optuna_storage(database)
    stop, give_up = threading.Event(), threading.Event()
    stop.set()
    give_up.set()

    Refresher(storage, database, None).refresh_until(stop, 60, give_up)
    assert len(_trial_notes(storage)) == 0
    Refresher(storage, database, None).refresh_until(stop, 60, threading.Event())
    assert len(_trial_notes(storage)) == 4


def test_a_big_study_is_written_in_parts_builds_and_front_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_demo_study(database, n_trials=12)
    front = [trial.trial_number for trial in load_study_report(database, "demo").front]
    dominated = next(number for number in range(10) if number not in front)
    queue_demo_build(database, "demo", dominated)
    storage = open_optuna_storage(database)
    refresher = Refresher(storage, database, None)
    trial_ids = {study.trials[number]._trial_id for number in (dominated, *front)}
    monkeypatch.setattr("dashboards.refresher.MAX_WRITES", 2 + len(trial_ids))

    assert refresher.refresh(NEVER) == 2 * (2 + len(trial_ids))  # as many of the points
    assert _trial_notes(storage) == trial_ids
    while refresher.refresh(NEVER):
        pass
    assert len(_trial_notes(storage)) == 12


def test_a_failure_is_logged_once_and_does_not_end_the_thread(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    refresher = Refresher(open_optuna_storage(database), database, None)
    make_demo_study(database, n_trials=3)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE design_studies SET text = 'study: ['")
    stop = threading.Event()
    thread = threading.Thread(target=refresher.refresh_until, args=(stop, 0.01, threading.Event()))

    thread.start()
    stop.wait(0.5)
    is_alive = thread.is_alive()
    stop.set()
    thread.join(10)

    assert is_alive
    assert [record.message.partition(":")[0] for record in caplog.records] == ["plots and notes cannot be updated"]


def test_a_note_that_people_wrote_before_is_kept_below_ours(database: Database) -> None:
    study = make_demo_study(database, n_trials=3)
    save_note(study, "my own words")
    storage = open_optuna_storage(database)

    _refresh(storage, database)

    note = "".join(value for key, value in _attributes(storage).items() if key.startswith("dashboard:note_str:"))
    assert note.endswith(f"{OWN_NOTES_HEADING}\n\nmy own words")
    assert _refresh(storage, database) == 0


def test_merging_twice_gives_the_same_text() -> None:
    once = merge_notes("ours", "theirs")

    assert merge_notes("ours", once) == once
    assert merge_notes("new", once) == once.replace("ours", "new")


def _refresh(storage: BaseStorage, database: Database) -> int:
    """As after a restart: nothing is remembered."""
    return Refresher(storage, database, None).refresh(NEVER)


def _trial_notes(storage: BaseStorage) -> set[int]:
    """The ids of the trials that have a note."""
    keys = [key.split(":") for key in _attributes(storage)]
    return {int(parts[1]) for parts in keys if parts[2:] == ["note_ver"]}


def _attributes(storage: BaseStorage) -> dict[str, str]:
    study = storage.get_all_studies()[0]
    return {key: str(value) for key, value in storage.get_study_system_attrs(study._study_id).items()}
