"""Gaussian processes suggest while they are quick."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers import GPSampler, TPESampler

from search import bounded_gp
from search.bounded_gp import BoundedGPSampler


def test_other_sampler_takes_over_after_so_many_complete_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_gp, "MOST_TRIALS", 12)
    used: list[str] = []
    for kind in (GPSampler, TPESampler):
        before = kind.before_trial

        def note(self: object, *args: object, kind: type = kind, before: object = before) -> None:
            used.append(kind.__name__)
            before(self, *args)  # type: ignore[operator]

        monkeypatch.setattr(kind, "before_trial", note)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=BoundedGPSampler(seed=1))
    for _ in range(15):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        study.tell(trial, [x, trial.suggest_int("y", 1, 9)])
    assert used == ["GPSampler"] * 12 + ["TPESampler"] * 3
