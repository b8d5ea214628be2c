"""The Markdown of a study's note."""

from __future__ import annotations

from dashboards.study_note import study_note
from search.reports.study_report import load_study_report
from spaces.study_config import parse_study_config
from storage.database import Database
from storage.studies import load_study_record
from tests.dashboards.demo_study import (
    DETAILED_BUILD_REPORT,
    HARDWARE,
    THREE_OBJECTIVES,
    fail_demo_build,
    finish_demo_build,
    make_demo_study,
)
from tests.dashboards.markdown_tables import table_rows


def test_note_of_two_objectives_has_front_and_progress(database: Database) -> None:
    make_demo_study(database, n_trials=8)

    note = _note(database)

    assert "by accuracy (higher is better), inference cost η (lower is better):" in note
    assert "A network must reach an accuracy of **56%**." in note
    assert "6 trials complete, 1 could not be built, 1 failed; no network has reached the threshold yet." in note
    header = [
        "trial",
        "stage",
        "accuracy",
        "reaches threshold",
        "inference cost η",
        "bit-ops",
        "weight bits",
        "parameters",
    ]
    assert header in table_rows(note)
    assert "estimate" not in note
    assert "The study `demo: all stages` has each as a trial." in note


def test_note_of_a_hardware_study_has_constraints_target_and_metrics(database: Database) -> None:
    make_demo_study(database, goals=HARDWARE)

    note = _note(database)

    assert ["LUT", "at most 25,000", "33 of 38"] in table_rows(note)
    assert ["throughput", "at least 100,000 frames/s", "33 of 38"] in table_rows(note)
    assert "Hardware metrics are FINN's estimates: ZCU111, 5 ns, folded for 100,000 frames/s." in note
    assert "38 trials complete (8 of them infeasible), 1 could not be built" in note
    assert ["26", "0", "41.00%", "no", "3,145", "4", "6", "416,667", "4.8"] in [row[:9] for row in table_rows(note)]


def test_note_of_three_objectives_names_all(database: Database) -> None:
    make_demo_study(database, n_trials=6, goals=THREE_OBJECTIVES)

    assert "by accuracy (higher is better), LUT (lower is better), throughput (higher is better):" in _note(database)


def test_the_best_that_reaches_the_threshold_is_named_with_its_second_objective(database: Database) -> None:
    make_demo_study(database, goals=HARDWARE.replace("0.56", "0.48"))

    assert "the best that reaches the threshold is trial 0 stage 0: LUT 5,199." in _note(database)


def test_note_has_the_builds_how_far_they_got_and_why_they_failed(database: Database) -> None:
    make_demo_study(database, n_trials=6)
    finish_demo_build(database, "demo", 0, DETAILED_BUILD_REPORT, level_note="no Vivado here")
    fail_demo_build(database, "demo", 1, "no <Pool> *here*")

    note = _note(database)

    build = ["0", "1", "succeeded", "codegen", "ZCU111", "5", "100,000", "24,100", "41", "0", "12", "101,562", "61.3"]
    assert [*build, "43.21%"] in table_rows(note)
    assert "- No further: no Vivado here.\n" in note
    assert r"- Failed: no \<Pool\> \*here\*" in note


def _note(database: Database) -> str:
    record = load_study_record(database, "demo")
    assert record is not None
    return study_note(load_study_report(database, "demo"), parse_study_config(record.text, "demo"))
