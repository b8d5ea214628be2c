"""Seconds of a suggestion are measured on a study that looks like a real one."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.benchmarks.asking import WAYS, fill_study, main, measure
from search.measured_trials import load_measured_trials
from search.optuna_storage import open_optuna_storage
from spaces.study_config import load_study_config
from storage.database import open_database


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('asking')}/studies.db"
    config = load_study_config(Path(__file__).parents[3] / "spaces/dsc4.yaml")
    fill_study(open_database(url), config, 20)
    return url


def test_filled_study_has_trials_and_points(url: str) -> None:
    database = open_database(url)
    study = optuna.load_study(study_name="dsc4", storage=open_optuna_storage(database))
    measured = load_measured_trials(database, study)
    assert len(measured) == 20
    assert {len(trial.points) for trial in measured} == {3}
    assert study.trials[5].values == [measured[5].last.accuracy, measured[5].last.inference_cost]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_measured(way: str, url: str) -> None:
    latency = measure(url, way, 20, n_asks=2)
    assert 0 < latency.median <= latency.longest
    assert latency.first > 0


def test_table_names_way_and_trials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trials", "12", "--ways", "random", "--asks", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| random | 12 | ")
