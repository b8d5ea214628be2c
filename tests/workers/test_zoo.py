"""The networks of the repository are what their entries say, on frames that are made anew."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from storage.dataset.frames import load_test_frames
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from storage.twin.cached_twin import ensure_twin
from workers.accuracy import evaluate_accuracy
from workers.checkpoint import write_weights
from workers.inference_cost import count_cost, score_qonnx_file
from workers.model import measure_density
from workers.qonnx_export import execute_qonnx, predict_exactly
from workers.zoo import ZooError, list_entries, load_entry, load_network, read_qonnx, write_entry

FRAMES_PER_CELL = 40


def test_an_entry_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    name = list_entries()[0]
    (tmp_path / "model.onnx").write_bytes(read_qonnx(name))
    write_weights(tmp_path / "weights.safetensors", load_network(name).model)
    files = tmp_path / "weights.safetensors", tmp_path / "model.onnx"
    paths = [write_entry("copy", load_entry(name), *files, tmp_path / folder) for folder in ("a", "b")]
    assert load_entry("copy", tmp_path / "a") == load_entry(name)
    assert read_qonnx("copy", tmp_path / "a") == read_qonnx(name)
    weights = load_network(name).model.state_dict()
    copied = load_network("copy", tmp_path / "a").model.state_dict()
    assert all(torch.equal(copied[key], tensor) for key, tensor in weights.items())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_damaged_archive_is_told_and_another_network_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    with pytest.raises(ZooError, match=r"broken\.zip is no network of a zoo"):
        load_entry("broken", tmp_path)
    name = list_entries()[0]
    (tmp_path / "model.onnx").write_bytes(read_qonnx(name))
    write_weights(tmp_path / "weights.safetensors", load_network(name).model)
    files = tmp_path / "weights.safetensors", tmp_path / "model.onnx"
    entry = load_entry(name)
    write_entry("one", entry, *files, tmp_path / "zoo")
    write_entry("one", replace(entry, accuracy=0.5), *files, tmp_path / "zoo")
    with pytest.raises(ZooError, match="expected another folder for another network"):
        write_entry("one", replace(entry, description="another network"), *files, tmp_path / "zoo")
    assert load_entry("one", tmp_path / "zoo").accuracy == 0.5


def test_zoo_has_networks() -> None:
    assert len(list_entries()) >= 3
    with pytest.raises(ZooError, match="the zoo has no vgg; expected one of "):
        load_entry("vgg")


@pytest.mark.parametrize("name", list_entries())
def test_cost_is_exact_in_weights_and_in_the_qonnx_file(name: str, tmp_path: Path) -> None:
    entry, network = load_entry(name), load_network(name)
    cost = count_cost(network.architecture, measure_density(network.model))
    assert cost.inference_cost == entry.inference_cost
    model_path = tmp_path / "model.onnx"
    model_path.write_bytes(read_qonnx(name))
    assert score_qonnx_file(model_path)["inference_cost"] == pytest.approx(entry.inference_cost, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_entries())
def test_accuracy_on_a_twin_made_anew_is_within_its_interval(name: str, tmp_path: Path) -> None:
    """Four standard errors: of one in sixteen thousand trainings the test would fail by chance."""
    entry, network = load_entry(name), load_network(name)
    file = inspect_radioml(ensure_twin(FRAMES_PER_CELL, 77, profile=entry.profile, folder=tmp_path))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    measured = evaluate_accuracy(network.model, load_test_frames(file, split, network.architecture.features))
    error = math.sqrt(entry.fresh_accuracy * (1 - entry.fresh_accuracy) / measured.n_frames)
    assert measured.n_frames >= 2000
    assert measured.overall == pytest.approx(entry.fresh_accuracy, abs=4 * error + 0.005)


@pytest.mark.parametrize("name", list_entries()[:1])
def test_qonnx_file_gives_the_networks_classes(name: str, tmp_path: Path) -> None:
    file = inspect_radioml(ensure_twin(8, 77, profile=load_entry(name).profile, folder=tmp_path))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    network = load_network(name)
    frames = load_test_frames(file, split, network.architecture.features).gather(slice(0, 12))
    (tmp_path / "model.onnx").write_bytes(read_qonnx(name))
    scores = execute_qonnx(tmp_path / "model.onnx", frames)
    assert (scores.argmax(axis=1) == predict_exactly(network.model, frames).argmax(axis=1)).mean() > 0.9
