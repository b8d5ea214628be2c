"""The command that puts a network of a study into the zoo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search import add_to_zoo, run
from workers.inference_cost import count_cost
from workers.model import measure_density
from workers.zoo import list_entries, load_entry, load_network, read_qonnx

STUDY = """
study: {name: tiny, seed: 1, sampler: grid}
dataset: {twin: {frames_per_cell: 8}}
space:
  quantization: {weights: &bits {choices: [8, 32], as: bits}, linear_weights: *bits, activations: *bits}
  blocks:
    - {type: input_quantizer, features: power}
    - {type: conv, kernel_size: 9, stride: 4, out_channels: 16}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 128}
pruning: {stages: [{kind: structured, fraction: 0.25, epochs: 0}]}
budget: {trials: 2, epochs: 1}
"""


@pytest.fixture
def study_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY)
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return tmp_path


def test_a_network_of_a_study_is_loaded_from_the_zoo_as_it_was_measured(
    study_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    number = next(n for n in ("0", "1") if add_to_zoo.main(["tiny", n, "--folder", "zoo"]) == 0)
    out, err = capsys.readouterr()
    assert out == f"zoo/tiny_trial_{number}_stage_1.zip\n"
    assert "32-bit weights" in err or number == "0"
    (name,) = list_entries(Path("zoo"))
    entry, network = load_entry(name, Path("zoo")), load_network(name, Path("zoo"))
    assert entry.description == f"trial {number} stage 1 of tiny"
    assert (entry.profile, entry.frames_per_cell, entry.twin_seed, entry.n_frames) == ("deepsig-2018", 8, 2018, 624)
    assert 0 < entry.accuracy < 1
    assert 0 < entry.fresh_accuracy < 1
    assert entry.build is None
    assert entry.architecture.blocks[1].out_channels == 12  # type: ignore[union-attr]
    assert count_cost(network.architecture, measure_density(network.model)).inference_cost == entry.inference_cost
    assert b"features" in read_qonnx(name, Path("zoo"))
    assert np.isfinite(entry.inference_cost)


def test_what_cannot_be_put_there_is_told(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    results = [add_to_zoo.main(["tiny", n, "--folder", "zoo"]) for n in ("0", "1", "7")]
    err = capsys.readouterr().err
    assert sorted(results) == [0, 2, 2]
    assert "the network has 32-bit weights or activations; expected at most 8 bits everywhere for an FPGA" in err
    assert "trial is 7; expected a complete trial of tiny" in err
    (Path("file")).write_text("")
    assert add_to_zoo.main(["tiny", "0", "--folder", "file/zoo"]) == 2
    assert "file/zoo" in capsys.readouterr().err
    for weights in Path("runs/artifacts").rglob("*.safetensors"):
        weights.unlink()
    number = str(results.index(0))
    assert add_to_zoo.main(["tiny", number, "--folder", "zoo"]) == 2
    assert "is not the weights of this network" in capsys.readouterr().err
