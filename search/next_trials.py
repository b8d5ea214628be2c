"""What the next trial begins with: values that are enqueued, chosen, a campaign's, a grid's, or the sampler's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import optuna

from search.reports.study_report import count_trials
from search.strategy.grid import Grid
from search.strategy.staged import Campaign
from search.trial_attributes import GRID_PLACE, PARENT
from spaces.study_config import StudyConfig
from storage.database import Database

if TYPE_CHECKING:  # it imports scikit-learn, which takes a second
    from search.strategy.choosing import Chooser


@dataclass(frozen=True)
class NextTrial:
    """Of one trial that may start now."""

    values: Mapping[str, object] | None = None
    """None: those that are enqueued, or the sampler's. Values that are left out are the sampler's, too."""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """To be kept with the trial."""


class NextTrials:
    """Finds them for one run of a study."""

    def __init__(self, config: StudyConfig, database: Database) -> None:
        self._config, self._database = config, database
        self._campaign = Campaign(config, database) if config.stages else None
        self._grid = Grid(config) if config.study.sampler == "grid" else None
        self._chooser: Chooser | None = None

    def find(self, study: optuna.Study) -> NextTrial | None:
        """None where none may start now: a campaign's stage waits for its last trials, or all is tried."""
        if count_trials(study).waiting > 0:  # by a user, at the start, or by a run that was killed
            return NextTrial()
        if self._campaign is not None:
            staged = self._campaign.find_next(study)
            return None if staged is None else NextTrial(staged.values, staged.attributes)
        if self._grid is not None:
            following = self._grid.find_next(study)
            return None if following is None else NextTrial(following[1], {GRID_PLACE: following[0]})
        if self._config.study.candidates == 0:
            return NextTrial()
        if self._chooser is None:
            from search.strategy.choosing import Chooser

            self._chooser = Chooser(self._config, self._database)
        chosen = self._chooser.choose(study)
        if chosen is None:
            return NextTrial()
        return NextTrial(chosen.params, {} if chosen.parent is None else {PARENT: chosen.parent})

    def describe_end(self, study: optuna.Study) -> str | None:
        """That all stages of a campaign or combinations of a grid are done; None while they are not, and for others."""
        if self._grid is not None and self._grid.is_over(study):
            return self._grid.describe_end()
        if self._campaign is None or not self._campaign.is_over(study):
            return None
        return self._campaign.describe_end(study)
