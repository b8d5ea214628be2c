"""What was measured: one row per study, trial and stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import RowMapping, Select, insert, select

from spaces.architecture import ArchitectureConfig
from storage.database import Database, insert_row
from storage.records import Cost, Evaluation
from storage.tables import evaluations

KEY = ("study_name", "trial_number", "stage")


def record_evaluation(db: Database, evaluation: Evaluation) -> None:
    """Stores one evaluation; replaces one of the same study, trial and stage."""
    values = _to_row(evaluation)
    measured = {name: value for name, value in values.items() if name not in KEY}
    statement = insert_row(db, evaluations, values).on_conflict_do_update(index_elements=KEY, set_=measured)
    with db.engine.begin() as connection:
        connection.execute(statement)


def record_new_evaluations(db: Database, several: Sequence[Evaluation]) -> None:
    """Stores many at once, of trials that have none yet."""
    with db.engine.begin() as connection:
        connection.execute(insert(evaluations), [_to_row(evaluation) for evaluation in several])


def load_evaluations(db: Database, study_name: str, from_trial: int = 0) -> list[Evaluation]:
    """The evaluations of a study from this trial on, by trial number, then stage; empty for an unknown study."""
    is_wanted = evaluations.c.trial_number >= from_trial
    return _load(db, select(evaluations).where(evaluations.c.study_name == study_name, is_wanted))


def load_trial_evaluations(db: Database, study_name: str, trial_number: int) -> list[Evaluation]:
    """The evaluations of one trial by stage; empty where nothing was measured yet."""
    is_of_study = evaluations.c.study_name == study_name
    return _load(db, select(evaluations).where(is_of_study, evaluations.c.trial_number == trial_number))


def _load(db: Database, query: Select[Any]) -> list[Evaluation]:
    with db.engine.connect() as connection:
        rows = connection.execute(query.order_by(evaluations.c.trial_number, evaluations.c.stage)).mappings().all()
    return [_to_evaluation(row) for row in rows]


def _to_row(evaluation: Evaluation) -> dict[str, Any]:
    values = asdict(evaluation)
    cost: dict[str, Any] = values.pop("cost")
    smaller = evaluation.architecture
    return values | cost | {"architecture": None if smaller is None else smaller.model_dump(mode="json")}


def _to_evaluation(row: RowMapping) -> Evaluation:
    values = dict(row)
    cost = Cost(**{field.name: values.pop(field.name) for field in fields(Cost)})
    accuracy_by_snr = {int(snr_db): accuracy for snr_db, accuracy in values.pop("accuracy_by_snr").items()}
    stored = values.pop("architecture")
    architecture = None if stored is None else ArchitectureConfig.model_validate_json(json.dumps(stored))
    return Evaluation(**values, cost=cost, accuracy_by_snr=accuracy_by_snr, architecture=architecture)
