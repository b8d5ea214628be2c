"""Studies on other signal sets than RadioML's: a design is trained and measured as any other is."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.study_data import open_dataset
from spaces.study_config import StudyConfig, load_study_config, parse_study_config
from workers.evaluation import evaluate_design
from workers.requests import DatasetRequest, EvaluationRequest

SPACES = Path(__file__).parents[2] / "spaces"


def shorten(path: Path) -> StudyConfig:
    """The study with its fewest frames, one epoch and no pruning."""
    text = path.read_text(encoding="utf-8")
    config = load_study_config(path)
    text = text.replace(f"frames_per_cell: {config.dataset.twin.frames_per_cell}", "frames_per_cell: 10")
    text = text.replace(f"  epochs: {config.budget.epochs}\n", "  epochs: 1\n")
    before, rest = text.split("pruning:\n")
    return parse_study_config(before + rest[rest.index("budget:") :], str(path))


@pytest.mark.parametrize(("study", "n_frames"), [("rothe9", 9 * 16), ("matlab11", 11)])
def test_design_of_the_study_is_trained_and_measured(
    study: str, n_frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = shorten(SPACES / f"{study}.yaml")
    file = open_dataset(config)
    design = config.search_space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask())
    (evaluation,) = evaluate_design(
        EvaluationRequest(
            study_name=study,
            trial_number=0,
            design=design,
            seed=1,
            dataset=DatasetRequest(str(file.path), None, config.dataset.min_training_snr_db, 0.1),
            artifacts=str(tmp_path / "artifacts"),
            study_started="2026-01-01",
            n_threads=1,
            use_gpu=False,
        )
    )
    assert evaluation.n_frames == n_frames
    assert set(evaluation.accuracy_by_snr) == set(file.snrs_db)
    assert 0 < evaluation.cost.inference_cost < 1
