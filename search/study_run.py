"""One run of a study: its search, the command's options, and what is shown of it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from search.live_report import LiveReport
from search.loop import Search
from search.measured_trials import MeasuredPoint
from search.processes.local_services import Service
from search.progress import ProgressDisplay, RunStatus
from search.reports.study_report import count_trials
from search.stored_point import StoredPoint
from storage.dataset.radioml import RadioMLFile

SEARCHING = "searching"


@dataclass
class StudyRun:
    """From its first trial to its last build."""

    args: argparse.Namespace
    file: RadioMLFile
    search: Search
    display: ProgressDisplay
    report: LiveReport
    dashboard: Service | None = None
    dashboard_url: str | None = None
    activity: str = SEARCHING
    n_trained_at_start: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_trained_at_start = count_trials(self.search.study).trained

    @property
    def study_name(self) -> str:
        """From the study file."""
        return self.search.config.study.name

    @property
    def results(self) -> Path:
        """Folder of tables, pages and logs: the parent of the artifacts' folder."""
        return self.search.artifacts.root.parent

    def stored_point(self, point: MeasuredPoint) -> StoredPoint:
        """A point of this study, to be promoted."""
        search = self.search
        return StoredPoint(search.database, search.artifacts, search.config, self.file, point)

    def begin(self, activity: str) -> None:
        """Shows a new activity."""
        self.activity = activity
        self.show()

    def show(self) -> None:
        """Brings the display up to date."""
        if self.dashboard is not None and (problem := self.dashboard.describe_end()):
            self.display.notice(problem)
            self.dashboard = self.dashboard_url = None
        self.display.update(self._status())

    def _status(self) -> RunStatus:
        search, is_searching = self.search, self.activity == SEARCHING
        running = [(number, search.requests[number].folder) for number in search.running] if is_searching else []
        return RunStatus(
            report=self.report.load(),
            n_wanted=search.limits.n_trained,
            n_trained_at_start=self.n_trained_at_start,
            running=tuple(running),
            waiting=tuple(search.waiting) if is_searching else (),
            started=search.started,
            time_limit_s=search.limits.time_limit_s,
            dashboard_url=self.dashboard_url,
            activity=self.activity,
        )
