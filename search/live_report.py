"""The report of a running study: rebuilt when a trial or a build changed, else reused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import optuna

from search.hardware import latest_builds
from search.reports.study_report import StudyReport, count_trials, make_study_report
from spaces.study_config import StudyConfig
from storage.builds import load_builds, read_build_marks
from storage.database import Database


@dataclass
class LiveReport:
    """For a display that asks each second: with many trials, the hypervolume alone takes longer."""

    database: Database
    study: optuna.Study
    config: StudyConfig
    _report: StudyReport | None = field(default=None, init=False)
    _state: object = field(default=None, init=False)

    def load(self) -> StudyReport:
        """The study now."""
        name, counts = self.config.study.name, count_trials(self.study)
        state = (counts.trained, counts.pruned, counts.failed, read_build_marks(self.database, name))
        if self._report is None or state != self._state:
            builds = latest_builds(load_builds(self.database, name))
            self._report = make_study_report(self.database, self.study, self.config, builds)
            self._state = state
        return replace(self._report, counts=counts)

    def reload(self) -> StudyReport:
        """The study now, also with trainings that no count shows."""
        self._report = None
        return self.load()
