"""A running study's report is made anew when a trial or a build changed, and used again as long as none did."""

from dataclasses import replace
from pathlib import Path

import pytest

import search.live_report
from search.budget import Limits
from search.live_report import LiveReport
from search.loop import Search, run_search
from search.reports.study_report import StudyReport, load_study_report, make_study_report
from storage.builds import claim_build, finish_build
from storage.database import Database
from storage.records import BuildLevel, FinishedBuild
from tests.search.search_study import complete, make_search, queue_small_build, small_config
from tests.search.test_report import BUILD_REPORT


class CountedReports:
    """Makes reports, and counts them."""

    def __init__(self) -> None:
        self.n_made = 0

    def __call__(self, *arguments: object) -> StudyReport:
        self.n_made += 1
        return make_study_report(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> CountedReports:
    counted = CountedReports()
    monkeypatch.setattr(search.live_report, "make_study_report", counted)
    return counted


@pytest.fixture
def small(database: Database, tmp_path: Path) -> Search:
    """A study of two complete trials."""
    small = make_search(small_config(), database, tmp_path, complete, limits=Limits(2, 6, None))
    run_search(small)
    return small


def test_report_is_used_again_while_nothing_changes(small: Search, reports: CountedReports) -> None:
    live = LiveReport(small.database, small.study, small.config)
    first = live.load()
    assert [live.load() for _ in range(10)] == [first] * 10
    assert reports.n_made == 1


def test_asked_trial_is_counted_without_a_new_report(small: Search, reports: CountedReports) -> None:
    live = LiveReport(small.database, small.study, small.config)
    first = live.load()
    small.study.ask()
    assert live.load() == replace(first, counts=replace(first.counts, running=1))
    assert reports.n_made == 1


def test_told_trial_is_in_the_next_report(small: Search, reports: CountedReports) -> None:
    live = LiveReport(small.database, small.study, small.config)
    live.load()
    small.limits = Limits(3, 9, None)
    run_search(small)
    assert live.load() == load_study_report(small.database, "small")
    assert reports.n_made == 2


def test_build_is_in_the_next_report_with_each_of_its_states(small: Search, reports: CountedReports) -> None:
    live, database = LiveReport(small.database, small.study, small.config), small.database
    live.load()
    queue_small_build(database, 1)
    assert live.load() == load_study_report(database, "small")
    build = claim_build(database, "me", 60)
    assert build is not None
    assert live.load() == load_study_report(database, "small")
    assert finish_build(database, build.build_id, "me", FinishedBuild(BUILD_REPORT, BuildLevel.CODEGEN))
    assert live.load() == load_study_report(database, "small")
    assert reports.n_made == 4
