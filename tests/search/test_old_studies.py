"""A study of before 2026-11-30 reports the same, goes on, and keeps its builds.

Its database is old_study/study.sql, and what its own report said is old_study/expected.json. Commit 419ed2e made both:
`git checkout 419ed2e && PYTHONPATH=. python make_study.txt FOLDER`, with old_study/make_study.txt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from search.budget import Limits
from search.loop import Search, run_search
from search.measured_trials import load_measured_trials
from search.objectives import find_front, measure_hypervolume
from search.reports.formats import report_as_json
from search.reports.study_report import load_study_report
from storage.builds import load_builds
from storage.database import Database, open_database
from storage.tables import estimates
from tests.search.estimate_maker import estimate_maker
from tests.search.search_study import complete, hardware_config, make_search, points_of, pool_of

FOLDER = Path(__file__).parent / "old_study"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
CONFIG = hardware_config("lut: {}, latency_us: {}", "throughput_fps: {at_least: 200000}")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    """The database as the commit before left it."""
    connection = sqlite3.connect(tmp_path / "studies.db")
    connection.executescript((FOLDER / "study.sql").read_text())
    connection.close()
    database = open_database(f"sqlite:///{tmp_path}/studies.db")
    yield database
    database.engine.dispose()


def resume(old: Database, tmp_path: Path) -> Search:
    search = make_search(CONFIG, old, tmp_path, complete, limits=Limits(8, 24, None))
    with estimate_maker(old):
        run_search(search)
    return search


def report_of(database: Database) -> dict[str, Any]:
    return report_as_json(load_study_report(database, "small"))


def in_format_3(build: dict[str, Any]) -> dict[str, Any]:
    """A build as the old report told it, in today's words. It is of the last of two stages."""
    build["stage"] = 1
    layers_only = {key: build.pop(key) for key in ("lut", "bram_18k", "uram", "dsp")}
    connected = build.pop("connected")
    if connected is None:
        return {**build, **layers_only, "layers_only": None}
    del connected["ff"]
    return {**build, **connected, "layers_only": layers_only}


def test_old_study_reports_the_same_trials_and_builds(old: Database) -> None:
    report, expected = report_of(old), dict(EXPECTED["report"])
    builds = [in_format_3(dict(build)) for build in json.loads(json.dumps(expected["builds"]))]
    del expected["front"], expected["hypervolume"]  # they were of the last stages alone
    trials = {**expected["trials"], "stopped": 0}  # there was no early stopping
    assert {key: report[key] for key in expected} == {**expected, "trials": trials, "builds": builds}


def test_last_stages_of_an_old_study_have_the_same_front_and_hypervolume(old: Database) -> None:
    report, expected = load_study_report(old, "small"), EXPECTED["report"]
    last = [trial.last for trial in report.trials if report.is_feasible(trial.last)]
    front = tuple(last[index] for index in find_front(report.objectives, last))
    told = report_as_json(replace(report, front=front))["front"]
    assert len(front) == 3
    assert isinstance(told, list)
    for one, entry in zip(told, expected["front"], strict=True):
        assert one.items() >= {**entry, "stage": 1, "target_inference_cost": None}.items()
    assert measure_hypervolume(report.objectives, last) == expected["hypervolume"]


def test_first_stages_of_an_old_study_are_on_its_front_today(old: Database) -> None:
    front = report_of(old)["front"]
    assert [(entry["trial"], entry["stage"]) for entry in front] == [(1, 0), (3, 0), (0, 0)]
    accuracies = [entry["accuracy"] for entry in EXPECTED["report"]["front"]]
    assert [entry["accuracy"] for entry in front] == pytest.approx([accuracy + 0.01 for accuracy in accuracies])


def test_old_study_is_resumed_where_it_stopped(old: Database, tmp_path: Path) -> None:
    search = resume(old, tmp_path)
    first = pool_of(search).submitted[0]
    assert first.trial_number == EXPECTED["running"]["trial"]
    assert first.design.model_dump_json() == search.study.trials[first.trial_number].user_attrs["design"]
    report = load_study_report(old, "small")
    assert report.counts.complete == 8
    assert [trial.trial_number for trial in report.trials] == [0, 1, 2, 3, 4, 5, 7]  # 6 was completed by hand
    assert all("trial" in trial.user_attrs for trial in points_of(search.study).trials)
    points = [(trial.user_attrs["trial"], trial.user_attrs["stage"]) for trial in points_of(search.study).trials]
    assert sorted(points) == [point.key for point in report.points]


def test_trial_of_an_old_study_goes_on_in_its_folder(old: Database, tmp_path: Path) -> None:
    first = pool_of(resume(old, tmp_path)).submitted[0]
    assert first.identity == EXPECTED["running"]["folder_identity"]


def test_old_study_keeps_its_builds(old: Database, tmp_path: Path) -> None:
    before = load_builds(old, "small")
    resume(old, tmp_path)
    assert len(before) == 2
    assert load_builds(old, "small") == before


def test_estimate_of_an_old_trial_is_in_its_attributes_alone_where_none_has_its_key(
    old: Database, tmp_path: Path
) -> None:
    told = report_of(old)["front"]
    with old.engine.begin() as connection:
        connection.execute(delete(estimates))
    assert report_of(old)["front"] == told
    search = resume(old, tmp_path)
    keys = {trial.trial_number: trial.estimate_keys for trial in load_measured_trials(old, search.study)}
    assert keys[0] == ()
    assert len(keys[7]) > 0
