"""Optuna's tables, made by many processes at once; imports no torch, for each of them imports this module."""

from collections.abc import Callable
from typing import Any

from search.optuna_storage import open_optuna_storage
from storage.database import open_database


def test_eight_processes_make_optuna_s_tables_at_once(database_url: str, run_at_once: Callable[..., list[Any]]) -> None:
    assert run_at_once(_count_studies, database_url) == [0] * 8


def _count_studies(url: str) -> int:
    return len(open_optuna_storage(open_database(url)).get_all_studies())
