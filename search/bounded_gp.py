"""Optuna's Gaussian process sampler for as long as it is quick: its time grows with the cube of the trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

MOST_TRIALS = 300
"""Complete trials from which on the other sampler suggests: an ask takes seconds then, and 14 s with 1,000."""


class BoundedGPSampler(BaseSampler):
    """Gaussian processes up to `MOST_TRIALS` complete trials, TPE from then on."""

    def __init__(self, seed: int) -> None:
        self._first, self._then = GPSampler(seed=seed), TPESampler(seed=seed)
        self._current: BaseSampler = self._first

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the sampler whose turn it is."""
        return self._current.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler whose turn it is."""
        return dict(self._current.sample_relative(study, trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the sampler whose turn it is."""
        return self._current.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Chooses the sampler for this trial."""
        n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        self._current = self._first if n_complete < MOST_TRIALS else self._then
        self._current.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler whose turn it is."""
        self._current.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Of both samplers."""
        self._first.reseed_rng()
        self._then.reseed_rng()
