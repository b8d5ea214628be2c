"""The record of a study: kept as it was started, its text replaced when its budget grows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from storage.database import Database
from storage.studies import StudyRecordError, list_studies, load_study_record, record_study, update_study_text


def test_study_record_comes_back_whole(database: Database) -> None:
    before = datetime.now(UTC)
    record_study(database, "dsc4", "study: {name: dsc4}  # μ", "f00d", {"python": "3.11", "git_commit": "abc-dirty"})

    record = load_study_record(database, "dsc4")

    assert record is not None
    assert (record.name, record.text, record.fingerprint) == ("dsc4", "study: {name: dsc4}  # μ", "f00d")
    assert record.provenance == {"python": "3.11", "git_commit": "abc-dirty"}
    assert before <= record.created_at <= datetime.now(UTC)


def test_recording_a_study_twice_keeps_the_first_record(database: Database) -> None:
    record_study(database, "dsc4", "first", "f00d", {"python": "3.11"})
    record_study(database, "dsc4", "second", "f00d", {"python": "3.12"})

    record = load_study_record(database, "dsc4")

    assert record is not None
    assert (record.text, record.provenance) == ("first", {"python": "3.11"})


def test_study_name_of_another_fingerprint_is_refused(database: Database) -> None:
    record_study(database, "dsc4", "first", "f00d", {})

    with pytest.raises(StudyRecordError, match="study dsc4 has the fingerprint f00d in the database; expected beef"):
        record_study(database, "dsc4", "second", "beef", {})


def test_studies_are_listed_oldest_first(database: Database) -> None:
    record_study(database, "second_by_name", "", "1", {})
    record_study(database, "first_by_name", "", "2", {})

    assert list_studies(database) == ["second_by_name", "first_by_name"]


def test_unknown_study_has_no_record(database: Database) -> None:
    assert load_study_record(database, "nowhere") is None


def test_study_text_is_replaced(database: Database) -> None:
    record_study(database, "dsc4", "budget: {trials: 10}", "f00d", {})

    update_study_text(database, "dsc4", "budget: {trials: 20}")

    record = load_study_record(database, "dsc4")
    assert record is not None
    assert record.text == "budget: {trials: 20}"


def test_text_of_an_unknown_study_is_refused(database: Database) -> None:
    with pytest.raises(StudyRecordError, match="study nowhere is not in the database"):
        update_study_text(database, "nowhere", "")
