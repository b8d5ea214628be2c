"""What a new study tries first: networks found by hand, and the front of another study."""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage

from search.reports.study_report import load_study_report
from spaces.known_designs import KNOWN_ARCHITECTURES, Mismatch, find_params
from spaces.study_config import StudyConfig
from storage.database import Database

ENQUEUED = "warm_start"
"""Study attribute: how many trials were enqueued at the start."""

KNOWN_DESIGN = "known_design"
"""User attribute of a trial that was enqueued: what it is."""


def enqueue_first_trials(study: optuna.Study, config: StudyConfig, database: Database) -> str | None:
    """Enqueues what `warm_start` names, once in the life of a study; says so in one line, or None where nothing is new.

    Values that the file leaves open, such as cost targets, are drawn by the sampler. Call with the study's lease.
    Raises StudyError where the other study is not in the database.
    """
    if ENQUEUED in study.user_attrs:
        return None
    first = [(name, _find_values(config, name)) for name in config.warm_start.designs]
    if config.warm_start.study is not None:
        first += _list_front(database, study._storage, config.warm_start.study)
    for name, params in first:
        study.enqueue_trial(params, user_attrs={KNOWN_DESIGN: name}, skip_if_exists=True)
    study.set_user_attr(ENQUEUED, len(first))
    return f"tried first: {', '.join(name for name, _ in first)}" if first else None


def _find_values(config: StudyConfig, name: str) -> dict[str, object]:
    params = find_params(config.space.blocks, KNOWN_ARCHITECTURES[name])
    assert not isinstance(params, Mismatch), "the file was checked when it was read"
    return dict(params)


def _list_front(database: Database, storage: BaseStorage, study_name: str) -> list[tuple[str, dict[str, object]]]:
    """The values of the trials on the front of another study; those that this space does not have are passed over."""
    report = load_study_report(database, study_name)
    numbers = dict.fromkeys(point.trial_number for point in report.front)
    other = optuna.load_study(study_name=study_name, storage=storage)
    trials = {trial.number: trial for trial in other.get_trials(deepcopy=False)}
    return [(f"trial {number} of {study_name}", dict(trials[number].params)) for number in numbers]
