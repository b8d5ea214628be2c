"""Bad study files and bad data files, each through the real command."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from search.run import main
from storage.signals.radioml_classes import CLASS_NAMES

ROOT = Path(__file__).parents[2]

STUDY_FILE = """
study: {name: bad, seed: 1}
dataset: {path: data.hdf5}
space:
  blocks:
    - {type: input_quantizer}
    - type: conv
      out_channels: 8
      kernel_size: 7
      stride: 4
      weight_bit_width: 4
      activation_bit_width: 4
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 8}
budget: {trials: 2, epochs: 1}
"""

SNRS_DB = range(-20, 32, 2)
FRAMES_PER_CELL = 8


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RADIOML_2018_01A", raising=False)
    return tmp_path


def write_data(path: Path, frame_length: int = 1024, nan_frame: int | None = None, amplitude: float = 1.0) -> None:
    n_cells = len(CLASS_NAMES) * len(SNRS_DB)
    frames = np.full((n_cells * FRAMES_PER_CELL, frame_length, 2), amplitude, np.float32)
    frames[:, ::2] *= -1
    if nan_frame is not None:
        frames[nan_frame, 5, 1] = np.nan
    labels = np.repeat(np.eye(len(CLASS_NAMES), dtype=np.int64), len(SNRS_DB) * FRAMES_PER_CELL, axis=0)
    snrs = np.tile(np.repeat(np.array(SNRS_DB, np.int64), FRAMES_PER_CELL), len(CLASS_NAMES))[:, None]
    with h5py.File(path, "w") as file:
        for name, values in (("X", frames), ("Y", labels), ("Z", snrs)):
            file.create_dataset(name, data=values)


def truncate(path: Path) -> None:
    write_data(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def write_links(path: Path) -> None:
    write_data(path.with_name("other.hdf5"))
    with h5py.File(path, "w") as file:
        for name in "XYZ":
            file[name] = h5py.ExternalLink("other.hdf5", name)


def expect_refusal(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> str:
    """Runs the command on this text; its one message, after checking that nothing else came of it."""
    (folder / "bad.yaml").write_text(text)
    assert main(["bad.yaml", "--local", "--no-build", "--no-dashboard"]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert not (folder / "runs").exists()
    return message.strip()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel_size:", "kernal_size:", "space.blocks[1].kernal_size"),
        ("kernel_size: 7", "kernel_size: {choices: [7, 0]}", "space.blocks[1].kernel_size"),
        ("weight_bit_width: 4", "weight_bit_width: 0", "space.blocks[1].weight_bit_width is 0; expected"),
        ("weight_bit_width: 4", "weight_bit_width: 33", "space.blocks[1].weight_bit_width is 33; expected"),
        ("stride: 4", "stride: {choices: []}", "space.blocks[1].stride"),
        ("budget:", "fpga: {target_fps: 100000000000}\nbudget:", "fpga.target_fps is 100000000000; expected"),
        ("epochs: 1}", "epochs: 1", "bad.yaml"),
    ],
    ids=["misspelt key", "kernel 0", "bit width 0", "bit width 33", "empty choices", "too fast", "unreadable YAML"],
)
def test_bad_study_file_is_refused_with_the_path_of_the_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    assert old in STUDY_FILE
    assert message in expect_refusal(folder, capsys, STUDY_FILE.replace(old, new))


def test_stride_product_beyond_the_frame_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conv = "{type: conv, out_channels: 8, kernel_size: 1, stride: 16, weight_bit_width: 4, activation_bit_width: 4}"
    text = STUDY_FILE.replace("    - {type: global_pool}", f"    - {conv}\n    - {conv}\n    - {{type: global_pool}}")
    message = expect_refusal(folder, capsys, text.replace("stride: 4", "stride: 16"))
    assert message.count("\n") == 0
    assert "expected at most the frame length, 1024" in message


def test_all_mistakes_of_a_study_file_are_told_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        STUDY_FILE.replace("stride: 4", "stride: 0").replace("trials: 2", "trials: no").replace("seed: 1", "seed: -1")
    )
    lines = expect_refusal(folder, capsys, text).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["study.seed", "space.blocks[1].stride", "budget.trials"]


def test_missing_study_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.yaml is missing; expected a study file")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "data.hdf5"),
        (truncate, "data.hdf5"),
        (lambda path: write_data(path, frame_length=512), "512"),
        (lambda path: write_data(path, nan_frame=777), "frame 777 of X holds NaN"),
        (lambda path: write_data(path, amplitude=0), "frame 0 of X holds no signal"),
        (lambda path: write_data(path, amplitude=0.007), "space.blocks[0].clip is 3; expected about 0.03: 100.0% of"),
        (write_links, "X is a link to other.hdf5:X, outside of the file"),
        (lambda path: path.write_text("not HDF5"), "data.hdf5"),
    ],
    ids=["missing", "truncated", "wrong shape", "NaN frames", "no signal", "other scale", "links", "not HDF5"],
)
def test_bad_data_file_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], None], message: str
) -> None:
    write(folder / "data.hdf5")
    refusal = expect_refusal(folder, capsys, STUDY_FILE)
    assert refusal.count("\n") == 0
    assert message in refusal


def test_data_file_of_the_environment_is_checked_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADIOML_2018_01A", "elsewhere.hdf5")
    assert "elsewhere.hdf5" in expect_refusal(folder, capsys, STUDY_FILE.replace("dataset: {path: data.hdf5}", ""))


def test_more_cores_per_trial_than_the_machine_has_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = expect_refusal(folder, capsys, STUDY_FILE + "workers: {cpus_per_trial: 1000}\n")
    assert message.startswith("workers.cpus_per_trial is 1000; expected at most")


def test_gpus_per_trial_that_the_machine_has_not_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    message = expect_refusal(folder, capsys, STUDY_FILE + "workers: {gpus_per_trial: 1}\n")
    assert message == "workers.gpus_per_trial is 1; expected at most 0, the NVIDIA GPUs here"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray-address", "foo"], "--ray-address is foo; expected HOST:PORT or auto"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address is 127.0.0.1:1, where nobody answers"),
        (["--artifacts", "bad.yaml"], "bad.yaml is no folder; expected a folder that can be written"),
        (["--artifacts", "bad.yaml/artifacts"], "bad.yaml is no folder; expected a folder that can be written"),
        (["--artifacts", "~no-such-user/x"], "the artifacts folder is ~no-such-user/x; expected a folder"),
    ],
)
def test_option_that_cannot_work_is_refused_before_the_database_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    write_data(folder / "data.hdf5")
    (folder / "bad.yaml").write_text(STUDY_FILE)
    assert main(["bad.yaml", "--no-build", "--no-dashboard", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("option", ["--extend", "--trials"])
def test_number_of_trials_beside_stages_is_refused(
    option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign's stages say how many trials they have."""
    text = STUDY_FILE.replace("out_channels: 8", "out_channels: {choices: [8, 16]}")
    (folder / "bad.yaml").write_text(f"{text}stages: [{{name: channels, draws: [out_channels], trials: 2}}]\n")
    assert main(["bad.yaml", option, "3"]) == 2
    expected = f"{option} is 3; expected left out for a study with stages, which say their trials\n"
    assert capsys.readouterr().err == expected
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [("mysql://me:secret@host/db", "expected sqlite:///FILE or postgresql"), ("sqlite://", "expected sqlite:///FILE")],
)
def test_bad_storage_url_is_refused_without_its_password(
    folder: Path, capsys: pytest.CaptureFixture[str], url: str, message: str
) -> None:
    write_data(folder / "data.hdf5")
    (folder / "bad.yaml").write_text(STUDY_FILE)
    assert main(["bad.yaml", "--storage", url]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "secret" not in error
    assert not (folder / "runs").exists()


def test_the_command_itself_prints_one_line_and_no_traceback(folder: Path) -> None:
    shutil.copy(ROOT / "spaces" / "smoke.yaml", folder / "smoke.yaml")
    text = (folder / "smoke.yaml").read_text()
    assert "seed: 1" in text
    (folder / "smoke.yaml").write_text(text.replace("seed: 1", "sead: 1"))
    command = [sys.executable, "-m", "search.run", str(folder / "smoke.yaml")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "study.sead" in result.stderr
