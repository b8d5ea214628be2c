"""A trial is trained again from its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from search import replay, run
from storage.database import open_database
from storage.tables import evaluations, studies

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
