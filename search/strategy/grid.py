"""The sampler `grid`: each combination of a study's values, as often as the study has replicates."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import TrialState

from search.trial_attributes import GRID_PLACE
from spaces.grid import list_combinations
from spaces.study_config import StudyConfig


class Grid:
    """The combinations of one study, all of them once before any is trained again."""

    def __init__(self, config: StudyConfig) -> None:
        self._combinations = list_combinations(config.search_space)
        self._replicates = config.study.replicates

    def find_next(self, study: optuna.Study) -> tuple[int, Mapping[str, object]] | None:
        """Place and values of the next trial; None where there is none left. What failed is tried again."""
        trials = study.get_trials(deepcopy=False)
        taken = {trial.user_attrs.get(GRID_PLACE) for trial in trials if trial.state is not TrialState.FAIL}
        for place in range(self._replicates * len(self._combinations)):
            if place not in taken:
                return place, self._combinations[place % len(self._combinations)]
        return None

    def is_over(self, study: optuna.Study) -> bool:
        """Whether all were tried."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return not running and self.find_next(study) is None

    def describe_end(self) -> str:
        """That they were."""
        times = "once" if self._replicates == 1 else f"{self._replicates} times"
        return f"each of the grid's {len(self._combinations)} combinations was tried {times}"
