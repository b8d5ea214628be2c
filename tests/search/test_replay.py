"""A trial is trained again from its record."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from sqlalchemy import select, update

from search import replay, run
from search.optuna_storage import open_optuna_storage
from storage.database import open_database
from storage.tables import evaluations, studies
from workers import training_path
from workers.training_path import PathName

STUDY = """
study: {name: tiny, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - type: conv
      kernel_size: 9
      stride: 4
      out_channels: {int: [8, 16]}
      weight_bit_width: 8
      activation_bit_width: 8
    - type: depthwise_separable
      kernel_size: 5
      stride: 2
      out_channels: 12
      weight_bit_width: 6
      activation_bit_width: {choices: [6, 32]}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 8}
training: {schedule: SCHEDULE, batch_size: 128}
pruning:
  stages:
    - {kind: cost_aware, inference_cost: 0.004, epochs: 1}
    - {epsilon: 0.02, weight_decay: 1.0e-4, epochs: 1}
budget: {trials: 2, epochs: 1}
early_stopping: {first_rung: 0.4}
"""


@pytest.fixture(params=["hold", "restarts"])
def study(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY.replace("SCHEDULE", request.param))
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return "tiny"


def test_replayed_trial_has_the_recorded_accuracies_bit_for_bit(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for trial in ("0", "1"):
        assert replay.main([study, trial, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["differences"] == []
        assert [stage["stage"] for stage in told["stages"]] == list(range(len(told["stages"])))
        assert all(stage["is_equal"] for stage in told["stages"])
    assert replay.main([study, "0", "--stage", "0"]) == 0
    out = capsys.readouterr().out
    assert "yes" in out
    assert "no" not in out.replace("now", "")


@pytest.mark.parametrize("path", [PathName.NATIVE, PathName.CHANNELS_LAST, PathName.FUNCTIONAL])
def test_each_training_path_is_replayed_bit_for_bit(
    path: PathName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_path, "_choose_name", lambda model: path)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY.replace("SCHEDULE", "hold").replace("trials: 2", "trials: 1"))
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    assert replay_all("0", capsys) == [path] * 3


def test_heir_is_replayed_with_its_parent(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage = open_optuna_storage(open_database("sqlite:///runs/studies.db"))
    optuna.load_study(study_name=study, storage=storage).enqueue_trial({}, user_attrs={"parent_trial": 0})
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard", "--extend", "1"]) == 0
    assert replay_all("2", capsys)
    for weights in Path("runs/artifacts/tiny/trials").glob("00000-*/*.safetensors"):
        weights.unlink()  # nothing but the record is needed
    assert replay_all("2", capsys)


def test_round_of_a_campaign_is_replayed_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stages = """stages:
  - {name: network, draws: [out_channels, activation_bit_width], trials: 1}
  - {name: pruning 1, draws: pruning, trials: 1}
  - {name: pruning 2, draws: pruning, trials: 1}
"""
    text = STUDY.replace("SCHEDULE", "hold").replace("trials: 2", "trials: 3")
    Path("tiny.yaml").write_text(text.replace("early_stopping: {first_rung: 0.4}\n", stages))
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    assert len(replay_all("2", capsys)) == 3


def replay_all(trial: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The paths of the stages of a trial that is replayed bit for bit."""
    capsys.readouterr()
    assert replay.main(["tiny", trial, "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert all(stage["is_equal"] for stage in stages)
    return [stage["path"] for stage in stages]


def test_what_differs_is_told(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    database = open_database("sqlite:///runs/studies.db")
    with database.engine.begin() as connection:
        connection.execute(update(evaluations).where(evaluations.c.stage == 0).values(accuracy=0.99))
        provenance = connection.execute(select(studies.c.provenance)).scalar_one()
        connection.execute(update(studies).values(provenance={**provenance, "torch": "1.0"}))
    capsys.readouterr()
    assert replay.main([study, "0", "--stage", "0"]) == 1
    printed = capsys.readouterr()
    assert "99.0000%" in printed.out
    assert "torch is " in printed.err
    assert "the study was started with 1.0" in printed.err


def test_trial_that_is_not_there_is_named(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([study, "9"]) == 2
    assert "trial is 9; expected a complete trial of tiny" in capsys.readouterr().err
