"""The command that measures one trial on the test part."""

import json
from pathlib import Path

import pytest

from search import run, test_accuracy
from storage.signals.radioml_classes import CLASS_NAMES, SNRS_DB
from workers.accuracy import Accuracy

STUDY = """
study: {name: tiny, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - {type: conv, kernel_size: 9, stride: 4, out_channels: 16, weight_bit_width: 8, activation_bit_width: 8}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 8}
training: {batch_size: 128}
budget: {trials: 1, epochs: 1}
"""


@pytest.fixture
def study_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY)
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return tmp_path


def test_accuracy_is_told_overall_per_snr_and_per_class(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert test_accuracy.main(["tiny", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_frames"] == 24 * 26  # one test frame in each cell
    assert list(told["by_snr"]) == [str(snr) for snr in SNRS_DB]
    assert tuple(told["by_class"]) == CLASS_NAMES
    for low, high in told["intervals"].values():
        assert low <= told["accuracy"] <= high
    assert told["accuracy"] == pytest.approx(sum(told["by_snr"].values()) / 26)
    clear = [told["by_snr"][str(snr)] for snr in range(10, 31, 2)]
    assert sum(told["by_class"].values()) / 24 == pytest.approx(sum(clear) / 11)


def test_tables_name_every_snr_and_class(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert test_accuracy.main(["tiny", "0"]) == 0
    out = capsys.readouterr().out
    assert "of 624 test frames" in out
    assert "95 % interval (Clopper-Pearson): " in out
    assert "95 % interval (normal): " in out
    assert all(name in out for name in (*CLASS_NAMES, "+30", "-20"))


def test_weights_that_are_truncated_are_told(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights,) = Path("runs/artifacts").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    capsys.readouterr()
    assert test_accuracy.main(["tiny", "0"]) == 2
    message = capsys.readouterr().err
    assert f"trial 0 of tiny: {weights.resolve()} is not the weights of this network" in message
    assert message.count("\n") == 1


def test_class_names_in_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = Accuracy(0.5, {30: 0.5}, {0: 0.25, 1: 0.75}, 4, is_exact=True)
    test_accuracy.print_accuracy(accuracy, ("[bold]PSK", "[/red]"), as_json=False)
    out = capsys.readouterr().out
    assert "[bold]PSK" in out
    assert "[/red]" in out


def test_trial_that_is_not_there_is_refused(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert test_accuracy.main(["tiny", "7"]) == 2
    assert "trial is 7; expected a complete trial of tiny, such as its front: 0" in capsys.readouterr().err
