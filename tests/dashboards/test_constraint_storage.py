"""Constraints in Optuna dashboard: read through its own API, in process, on a real database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from dashboards.app import create_app
from dashboards.constraint_storage import ConstraintStorage
from dashboards.guard import guard_rules
from search.optuna_storage import open_optuna_storage
from storage.database import open_database

TRIALS = (  # accuracy, LUT, how far above its bound (feasible: at most 0)
    (0.50, 10_000.0, -0.5),
    (0.60, 9_000.0, 0.2),  # better than all others in both, but infeasible
    (0.55, 20_000.0, 0.0),
    (0.45, 30_000.0, -0.5),
)


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    """One study of four told trials, with two constraints each."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_optuna_storage(open_database(f"sqlite:///{tmp_path}/studies.db"))
    study = optuna.create_study(storage=storage, study_name="demo", directions=["maximize", "minimize"])
    for accuracy, lut, violation in TRIALS:
        trial = study.ask()
        trial.set_constraint("throughput_fps", -1.0)
        trial.set_constraint("dsp", violation)
        study.tell(trial, [accuracy, lut])
    return storage


class _Client:
    """A browser on the whole application, without a server between."""

    def __init__(self, storage: BaseStorage, artifacts: Path) -> None:
        database = open_database(f"sqlite:///{artifacts}/studies.db")
        app = create_app(storage, database, artifacts, guard_rules("127.0.0.1", None))
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return asyncio.run(self._client.request(method, path, json=body))

    def study(self, study_id: int = 1) -> dict[str, Any]:
        answer = self.request("GET", f"/api/studies/{study_id}")
        assert answer.status_code == 200, answer.text
        study: dict[str, Any] = answer.json()
        return study


@pytest.fixture
def client(storage: BaseStorage, tmp_path: Path) -> _Client:
    return _Client(storage, tmp_path)


def test_the_api_gives_each_trial_its_constraints_by_name(client: _Client) -> None:
    trials = client.study()["trials"]

    assert [trial["constraints"] for trial in trials] == [[-0.5, -1.0], [0.2, -1.0], [0.0, -1.0], [-0.5, -1.0]]


def test_an_infeasible_trial_is_not_among_the_best(client: _Client) -> None:
    best = client.study()["best_trials"]

    assert [trial["number"] for trial in best] == [0, 2]


def test_constraints_of_trials_that_are_told_later_appear(client: _Client, storage: BaseStorage) -> None:
    study = optuna.load_study(study_name="demo", storage=storage)
    trial = study.ask()
    trial.set_constraint("dsp", 3.0)
    study.tell(trial, [0.9, 1.0])

    trials = client.study()["trials"]

    assert trials[4]["constraints"] == [3.0]


def test_trials_without_constraints_have_none_and_may_be_best(tmp_path: Path) -> None:
    storage = open_optuna_storage(open_database(f"sqlite:///{tmp_path}/studies.db"))
    study = optuna.create_study(storage=storage, study_name="plain", directions=["maximize", "minimize"])
    study.tell(study.ask(), [0.5, 1.0])

    answer = _Client(storage, tmp_path).study()

    assert answer["trials"][0]["constraints"] == []
    assert [trial["number"] for trial in answer["best_trials"]] == [0]


def test_nothing_of_it_is_stored_even_where_a_study_is_renamed(client: _Client, storage: BaseStorage) -> None:
    client.study()

    answer = client.request("POST", "/api/studies/1/rename", {"study_name": "other"})

    assert answer.status_code == 201
    (trial, *_) = optuna.load_study(study_name="other", storage=storage).trials
    assert trial.constraints == {"throughput_fps": -1.0, "dsp": -0.5}
    assert client.study(answer.json()["study_id"])["trials"][1]["constraints"] == [0.2, -1.0]


def test_a_study_deleted_in_the_dashboard_is_gone_for_the_other_storage(client: _Client, storage: BaseStorage) -> None:
    optuna.load_study(study_name="demo", storage=storage)

    assert client.request("DELETE", "/api/studies/1", {}).status_code == 204

    again = optuna.create_study(storage=storage, study_name="demo", directions=["minimize"])
    assert again.trials == []
    assert again.directions == [optuna.study.StudyDirection.MINIMIZE]


def test_a_storage_without_a_database_is_refused() -> None:
    with pytest.raises(TypeError, match="storage is a InMemoryStorage; expected what open_optuna_storage gives"):
        ConstraintStorage(InMemoryStorage())
