"""The studies of a database for programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search import open_study, run
from search.api import StudyResults
from search.study import StudyError
from storage.database import DatabaseError
from storage.dataset.frames import load_validation_frames
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from storage.signals.radioml_classes import CLASS_NAMES
from storage.twin.cached_twin import ensure_twin
from workers.inference_cost import score_qonnx_file
from workers.qonnx_export import ExportError

STUDY = """
study: {name: tiny, seed: 1, sampler: grid}
dataset: {twin: {frames_per_cell: 8}}
space:
  quantization: {weights: &bits {choices: [8, 32], as: bits}, linear_weights: *bits, activations: *bits}
  blocks:
    - {type: input_quantizer, clip: 3.2, features: FEATURES}
    - {type: conv, kernel_size: 9, stride: 4, out_channels: 16}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 128}
pruning: {stages: [{kind: structured, fraction: 0.25, epochs: 0}]}
budget: {trials: 2, epochs: 1}
"""


@pytest.fixture(params=["iq", "phase_difference"])
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> StudyResults:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY.replace("FEATURES", request.param))
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return open_study("tiny")


def test_networks_classify_as_they_were_measured(study: StudyResults) -> None:
    file = inspect_radioml(ensure_twin(8, 2018))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    frames = load_validation_frames(file, split, None)
    iq = np.moveaxis(frames.gather(slice(None)), 1, 2)
    for trial in study.trials:
        classified = trial.network.classify(iq)
        assert classified.scores.shape == (len(frames), 24)
        right = np.array([CLASS_NAMES.index(name) for name in classified.names]) == frames.labels
        assert right.mean() == pytest.approx(trial.accuracy, abs=0 if trial.network.is_exact else 0.01)
    assert sorted(trial.network.is_exact for trial in study.trials) == [False, True]


def test_wrong_samples_are_refused(study: StudyResults) -> None:
    network = study.trial(0).network
    with pytest.raises(ValueError, match=r"iq has shape \(4, 2, 1024\); expected \(n, 1024, 2\)"):
        network.classify(np.zeros((4, 2, 1024), np.float32))
    with pytest.raises(ValueError, match="NaN or infinite"):
        network.classify(np.full((1, 1024, 2), np.nan, np.float32))
    assert network.classify(np.zeros((0, 1024, 2), np.float32)).names == []


def test_costs_tables_and_files_agree(study: StudyResults, tmp_path: Path) -> None:
    trial = next(trial for trial in study.trials if trial.network.is_exact)
    assert sum(layer.bit_ops for layer in trial.cost.layers) == pytest.approx(trial.cost.total.bit_ops)
    path = trial.export_onnx(tmp_path / "net.onnx")
    assert score_qonnx_file(path)["inference_cost"] == pytest.approx(trial.cost.total.inference_cost)
    table = study.to_dataframe()
    assert list(table["trial"]) == [0, 0, 1, 1]
    assert table["is_on_front"].sum() == len(study.front)
    assert list(table["bits"]) == [8, 8, 32, 32]
    assert (trial.number, trial.stage) == (study.trial(trial.number).number, 1)
    assert set(trial.accuracy_by_snr) == set(range(-20, 32, 2))
    with pytest.raises(ExportError, match="32-bit"):
        next(t for t in study.trials if not t.network.is_exact).export_onnx(tmp_path / "float.onnx")


def test_what_is_not_there_is_told(study: StudyResults) -> None:
    with pytest.raises(StudyError, match="trial is 9; expected a complete trial of tiny"):
        study.trial(9)
    with pytest.raises(StudyError, match="study is tony; expected one of those in the database: tiny"):
        open_study("tony")
    with pytest.raises(DatabaseError):
        open_study("tiny", storage="sqlite:///none.db")
    assert study.builds == []


def test_pandas_is_asked_for_only_by_the_table() -> None:
    program = (
        "import sys; sys.modules['pandas'] = None\n"
        "from search import open_study\n"
        "from search.api import StudyResults\n"
        "try: StudyResults.to_dataframe(None)\n"
        "except ImportError as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "pandas is missing; expected it installed, as with: pip install pandas\nFalse\n"
