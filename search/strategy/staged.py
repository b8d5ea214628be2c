"""Staged campaigns: where one is, what its next trial holds fixed, and which network each stage hands on.

All of it is in the study: which stage a trial belongs to and which trial it goes on from are among its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.measured_trials import list_chosen, load_measured_trials
from search.trial_attributes import BASE, CAMPAIGN_STAGE, ROUNDS, read_campaign_stage
from spaces.campaign_stages import count_rounds, hold_values, list_largest
from spaces.study_config import StudyConfig
from storage.database import Database

ASKED_PER_TRIAL = 3
"""At most so many trials are asked for each one that a stage wants: some cannot be built or fail."""


@dataclass(frozen=True)
class StagedTrial:
    """What a trial of a campaign begins with."""

    values: Mapping[str, object]
    """Those that its stage does not draw."""
    attributes: Mapping[str, object]
    """To be kept with the trial."""


class Campaign:
    """The stages of one study."""

    def __init__(self, config: StudyConfig, database: Database) -> None:
        self._config, self._database = config, database

    def find_next(self, study: optuna.Study) -> StagedTrial | None:
        """The next trial; None while a stage waits for its last trials, and at the end."""
        trials = study.get_trials(deepcopy=False)
        chosen = list_chosen(load_measured_trials(self._database, study), self._config)
        base: int | None = None
        for index, stage in enumerate(self._config.stages):
            own = [trial for trial in trials if read_campaign_stage(trial) == index]
            n_running = _count(own, TrialState.RUNNING)
            n_complete = _count(own, TrialState.COMPLETE)
            if n_complete + n_running < stage.trials and len(own) < ASKED_PER_TRIAL * stage.trials:
                return self._begin(index, trials, base)
            if n_running:
                return None
            base = base if chosen[index] is None else chosen[index]
        return None

    def is_over(self, study: optuna.Study) -> bool:
        """Whether each stage has its trials, and none of them runs."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return not running and self.find_next(study) is None

    def describe_end(self, study: optuna.Study) -> str:
        """That all stages are done, and which of them found no network."""
        chosen = list_chosen(load_measured_trials(self._database, study), self._config)
        empty = [stage.name for stage, number in zip(self._config.stages, chosen, strict=True) if number is None]
        return f"all stages are done{'' if not empty else '; no network came of: ' + ', '.join(empty)}"

    def _begin(self, index: int, trials: Sequence[FrozenTrial], base: int | None) -> StagedTrial:
        stages = self._config.stages
        params = {} if base is None else trials[base].params
        values = hold_values(stages, index, list_largest(self._config.search_space), params)
        attributes: dict[str, object] = {CAMPAIGN_STAGE: index, ROUNDS: count_rounds(stages, index)}
        if base is not None:
            attributes[BASE] = base
        return StagedTrial(values, attributes)


def _count(trials: Sequence[FrozenTrial], state: TrialState) -> int:
    return sum(trial.state is state for trial in trials)
