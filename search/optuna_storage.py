"""Optuna's tables in our database, and its studies with the objectives of ours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage, RDBStorage

from search.objectives import Objective
from storage.database import Database, configure_sqlite, creation_lock

DATABASE_TIMEOUT_S = 60


def open_optuna_storage(database: Database) -> BaseStorage:
    """Optuna's tables, with our settings. Optuna creates missing tables."""
    is_sqlite = database.url.startswith("sqlite")
    arguments = {"connect_args": {"timeout": DATABASE_TIMEOUT_S}} if is_sqlite else {}
    with creation_lock(database.engine):
        storage = RDBStorage(database.url, engine_kwargs=arguments)
    if is_sqlite:
        configure_sqlite(storage.engine)
    return optuna.storages.get_storage(storage)


def open_optuna_study(storage: BaseStorage, name: str, objectives: Sequence[Objective]) -> optuna.Study:
    """The study of this name, made where it is missing. Its values are those of the objectives, in this order."""
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[objective.metric.direction for objective in objectives],
        load_if_exists=True,
    )
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # they are for the dashboard only
            study.set_metric_names([objective.name for objective in objectives])
    return study
