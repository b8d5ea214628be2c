"""The networks of the repository are what their entries say, on frames that are made anew."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from storage.dataset.frames import load_test_frames
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from storage.twin.cached_twin import ensure_twin
from workers.accuracy import evaluate_accuracy
from workers.inference_cost import count_cost, score_qonnx_file
from workers.model import measure_density
from workers.qonnx_export import execute_qonnx, predict_exactly
from workers.zoo import ZooError, list_entries, load_entry, load_network, qonnx_file

FRAMES_PER_CELL = 40


def test_zoo_has_networks() -> None:
    assert len(list_entries()) >= 3
    with pytest.raises(ZooError, match="the zoo has no vgg; expected one of "):
        load_entry("vgg")


@pytest.mark.parametrize("name", list_entries())
def test_cost_is_exact_in_weights_and_in_the_qonnx_file(name: str) -> None:
    entry, network = load_entry(name), load_network(name)
    cost = count_cost(network.architecture, measure_density(network.model))
    assert cost.inference_cost == entry.inference_cost
    assert score_qonnx_file(qonnx_file(name))["inference_cost"] == pytest.approx(entry.inference_cost, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_entries())
def test_accuracy_on_a_twin_made_anew_is_within_its_interval(name: str, tmp_path: Path) -> None:
    """Four standard errors: of one in sixteen thousand trainings the test would fail by chance."""
    entry, network = load_entry(name), load_network(name)
    file = inspect_radioml(ensure_twin(FRAMES_PER_CELL, 77, profile=entry.profile, folder=tmp_path))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    measured = evaluate_accuracy(network.model, load_test_frames(file, split))
    error = math.sqrt(entry.fresh_accuracy * (1 - entry.fresh_accuracy) / measured.n_frames)
    assert measured.n_frames >= 2000
    assert measured.overall == pytest.approx(entry.fresh_accuracy, abs=4 * error + 0.005)


@pytest.mark.parametrize("name", list_entries()[:1])
def test_qonnx_file_gives_the_networks_classes(name: str, tmp_path: Path) -> None:
    file = inspect_radioml(ensure_twin(8, 77, profile=load_entry(name).profile, folder=tmp_path))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    frames = load_test_frames(file, split).gather(slice(0, 12))
    scores = execute_qonnx(qonnx_file(name), frames)
    assert (scores.argmax(axis=1) == predict_exactly(load_network(name).model, frames).argmax(axis=1)).mean() > 0.9
