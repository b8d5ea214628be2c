"""How many trials a study is to have, and how long one run of it may take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import optuna
from optuna.trial import TrialState

from search.reports.study_report import TrialCounts, count_trials
from search.trial_attributes import UNBUILDABLE
from spaces.search_space import find_most_frequent
from spaces.study_config import StudyConfig

ASKED_PER_TRIAL = 3
"""At most so many trials are asked for each one wanted, so that a search in a space of unbuildable designs ends."""

EXTENSION = "extension"
"""Study attribute that keeps an extension when a run is interrupted."""


@dataclass(frozen=True)
class Limits:
    """When a run stops."""

    n_trained: int
    """Trials wanted that are complete or stopped early, with those of earlier runs."""
    n_asked: int
    """Trials asked at most, with those of earlier runs."""
    time_limit_s: float | None

    def wants_more(self, counts: TrialCounts) -> bool:
        """Whether to ask for another trial."""
        is_missing = counts.trained + counts.running < self.n_trained
        return is_missing and counts.total - counts.waiting < self.n_asked


def choose_limits(
    study: optuna.Study, config: StudyConfig, trials: int | None, extend: int | None, time_limit_s: float | None
) -> Limits:
    """The budget of the study file, unless the command says otherwise. An extension is kept with the study."""
    if time_limit_s is None and config.budget.wall_clock_minutes is not None:
        time_limit_s = config.budget.wall_clock_minutes * 60
    if trials is not None:
        return Limits(trials, ASKED_PER_TRIAL * trials, time_limit_s)
    if extend is not None:
        counts = count_trials(study)
        limits = Limits(counts.trained + extend, counts.total + ASKED_PER_TRIAL * extend, time_limit_s)
        study.set_user_attr(EXTENSION, {"n_complete": limits.n_trained, "n_asked": limits.n_asked})
        return limits
    return replace(read_limits(study, config), time_limit_s=time_limit_s)


def read_limits(study: optuna.Study, config: StudyConfig) -> Limits:
    """What the study file asks for, with an extension that is kept with the study; without a time limit."""
    budget = config.budget.trials
    extension = study.user_attrs.get(EXTENSION, {"n_complete": 0, "n_asked": 0})
    return Limits(max(budget, extension["n_complete"]), max(ASKED_PER_TRIAL * budget, extension["n_asked"]), None)


def describe_shortfall(study: optuna.Study, limits: Limits) -> str | None:
    """Why there are fewer trials than wanted although enough were asked, and what helps; None where there are not."""
    counts = count_trials(study)
    are_all_asked = counts.total - counts.waiting >= limits.n_asked
    if counts.trained >= limits.n_trained or not are_all_asked:
        return None
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    reasons = [reason for trial in pruned if (reason := trial.user_attrs.get(UNBUILDABLE))]
    if not reasons:
        return None
    return (
        f"warning: {counts.pruned} of {counts.total} designs could not be built. The most frequent reason: "
        f"{find_most_frequent(reasons)}. Narrow the space, or ask for N more trials with --extend N"
    )


def describe_budget(counts: TrialCounts, limits: Limits) -> str:
    """How the budget was used, in one sentence."""
    stopped = f" or stopped early ({counts.stopped})" if counts.stopped else ""
    if counts.trained >= limits.n_trained:
        return f"all {counts.trained} trials are complete{stopped}"
    return (
        f"{counts.trained} of {limits.n_trained} trials are complete{stopped} after {counts.total} were asked: "
        f"{counts.pruned} designs could not be built and {counts.failed} failed"
    )
