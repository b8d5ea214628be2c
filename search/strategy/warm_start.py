"""What a new study tries first: networks found by hand, and the front of another study."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping

import optuna
from optuna.storages import BaseStorage

from search.reports.study_report import load_study_report
from search.strategy.recorded_draw import RecordedDraw
from search.study import StudyError
from spaces.architecture import ArchitectureError
from spaces.known_designs import KNOWN_ARCHITECTURES, Mismatch, find_params
from spaces.search_space import SearchSpace
from spaces.study_config import StudyConfig
from storage.database import Database
from storage.studies import list_studies

ENQUEUED = "warm_start"
"""Study attribute: what was enqueued at the start, by name."""

KNOWN_DESIGN = "known_design"
"""User attribute of a trial that was enqueued: what it is."""


def check_warm_start(config: StudyConfig, database: Database) -> None:
    """Raises StudyError where the other study is not in the database; before the new one is made."""
    name, known = config.warm_start.study, list_studies(database)
    if name is not None and name not in known:
        listed = ", ".join(known) or "none"
        raise StudyError(f"warm_start.study is {name}; expected one of those in the database: {listed}")


def enqueue_first_trials(study: optuna.Study, config: StudyConfig, database: Database) -> str | None:
    """Enqueues what `warm_start` names when a study begins; says so in one line, or None where there is nothing to say.

    Values that the file leaves open, such as cost targets, are drawn by the sampler. Call with the study's lease.
    """
    part = config.warm_start
    wanted = [*part.designs, *([f"the front of {part.study}"] if part.study else [])]
    before = study.user_attrs.get(ENQUEUED)
    if before == wanted or not (wanted or before):
        return None
    if before is not None or any(KNOWN_DESIGN not in trial.user_attrs for trial in study.get_trials(deepcopy=False)):
        return "warm_start has no effect: the study began without it" if wanted else None
    first = {name: _find_values(config, name) for name in part.designs}
    if part.study is not None:
        first |= _list_front(database, study._storage, config.search_space, part.study)
    for name, params in first.items():
        study.enqueue_trial(dict(params), user_attrs={KNOWN_DESIGN: name}, skip_if_exists=True)
    study.set_user_attr(ENQUEUED, wanted)
    return f"tried first: {', '.join(first) or 'nothing, for the other study has no front yet'}"


def _find_values(config: StudyConfig, name: str) -> Mapping[str, object]:
    params = find_params(config.space.blocks, KNOWN_ARCHITECTURES[name])
    assert not isinstance(params, Mismatch), "the file was checked when it was read"
    return params


def _list_front(
    database: Database, storage: BaseStorage, space: SearchSpace, study_name: str
) -> dict[str, Mapping[str, object]]:
    """The values of the trials on the front of another study, without those that this space does not have."""
    report = load_study_report(database, study_name)
    trials = optuna.load_study(study_name=study_name, storage=storage).get_trials(deepcopy=False)
    numbers = dict.fromkeys(point.trial_number for point in report.front)
    return {f"trial {number} of {study_name}": _keep_known(space, trials[number].params) for number in numbers}


def _keep_known(space: SearchSpace, params: Mapping[str, object]) -> Mapping[str, object]:
    """Optuna would train values outside of a range, and raise for values that are no choice."""
    draw = RecordedDraw(random.Random(0), params, mutation_rate=0.0)
    with contextlib.suppress(ArchitectureError):  # with what is drawn for the others: the sampler may do better
        space.suggest(draw)
    return {name: value for name, value in draw.params.items() if name in draw.kept}
