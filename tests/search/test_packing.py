"""A study packed into one file goes on in another database as if it had never moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from search import pack, run, unpack
from search.budget import Limits
from search.loop import run_search
from search.reports.formats import report_as_json
from search.reports.study_report import load_study_report
from storage.database import Database, open_database
from storage.evaluations import load_evaluations
from tests.search.estimate_maker import estimate_maker
from tests.search.search_study import complete, hardware_config, make_search, small_config

ROOT = Path(__file__).parents[2]

STUDY = """
study: {name: moved, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - type: depthwise_separable
      kernel_size: {choices: [7, 9]}
      stride: 4
      out_channels: {int: [8, 24]}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 128}
pruning: {stages: [{kind: cost_aware, inference_cost: 0.002, epochs: 4}]}
budget: {trials: 2, epochs: 4}
"""

CAMPAIGN = f"""{STUDY.replace("trials: 2", "trials: 4")}stages:
  - {{name: architecture, draws: [kernel_size, out_channels], trials: 2}}
  - {{name: pruning, draws: pruning, trials: 2}}
"""

OPTIONS = ("--local", "--no-build", "--no-dashboard")

TIMEOUT_S = 120


def list_points(folder: Path) -> list[tuple[int, int, float, float]]:
    """Trial, stage, accuracy and cost of all points."""
    with_all = load_evaluations(open_database(f"sqlite:///{folder}/runs/studies.db"), "moved")
    return [(one.trial_number, one.stage, one.accuracy, one.cost.inference_cost) for one in with_all]


def move(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs the study in one folder, and unpacks it in another."""
    monkeypatch.chdir(source)
    assert pack.main(["moved", "moved.zip"]) == 0
    monkeypatch.chdir(target)
    shutil.copy(source / "moved.zip", target)
    assert unpack.main(["moved.zip"]) == 0


@pytest.mark.parametrize(("text", "trial"), [(STUDY, 1), (CAMPAIGN, 2)], ids=["joint", "staged"])
def test_study_that_was_killed_in_a_trial_goes_on_elsewhere_bit_for_bit(
    text: str, trial: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken, moved = (tmp_path / name for name in ("whole", "broken", "moved"))
    for folder in (whole, broken, moved):
        folder.mkdir()
        (folder / "moved.yaml").write_text(text)
    monkeypatch.chdir(whole)
    assert run.main(["moved.yaml", *OPTIONS]) == 0

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "search.run", "moved.yaml", *OPTIONS]
    driver = subprocess.Popen(command, cwd=broken, env=environment, start_new_session=True)
    deadline = time.monotonic() + TIMEOUT_S
    while count_epochs(broken, trial) not in range(2, 8):
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.002)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    n_epochs = count_epochs(broken, trial)
    assert len(list_points(broken)) < len(list_points(whole))

    move(broken, moved, monkeypatch)
    assert count_epochs(moved, trial) == n_epochs
    assert run.main(["moved.yaml", *OPTIONS]) == 0
    assert list_points(moved) == list_points(whole)


def count_epochs(folder: Path, trial: int) -> int:
    """How many epochs this trial has trained so far."""
    for path in folder.glob(f"runs/artifacts/moved/trials/{trial:05d}-*/progress.json"):
        return int(json.loads(path.read_text())["epoch"])
    return 0


def test_study_of_hardware_metrics_has_the_same_report_elsewhere(
    sqlite: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = hardware_config("lut: {}, latency_us: {}")
    with estimate_maker(sqlite):
        run_search(make_search(config, sqlite, tmp_path, complete, limits=Limits(4, 12, None)))
    assert pack.main(["small", str(tmp_path / "small.zip"), "--storage", sqlite.url]) == 0
    assert "4 trials of small, 0 files" in capsys.readouterr().out
    there = f"sqlite:///{tmp_path}/there.db"
    options = ["--storage", there, "--artifacts", str(tmp_path / "there")]
    assert unpack.main([str(tmp_path / "small.zip"), *options]) == 0
    assert report_of(there) == report_of(sqlite.url)

    assert unpack.main([str(tmp_path / "small.zip"), *options]) == 2
    assert "study small is in the database already" in capsys.readouterr().err
    assert report_of(there) == report_of(sqlite.url)


def report_of(url: str) -> dict[str, Any]:
    return report_as_json(load_study_report(open_database(url), "small"))


def test_missing_study_and_file_are_named(sqlite: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack.main(["none", str(tmp_path / "none.zip"), "--storage", sqlite.url]) == 2
    assert "study is none" in capsys.readouterr().err
    assert not (tmp_path / "none.zip").exists()
    assert unpack.main([str(tmp_path / "none.zip"), "--storage", sqlite.url]) == 2
    assert "none.zip: [Errno 2]" in capsys.readouterr().err
    (tmp_path / "text.zip").write_text("no archive")
    assert unpack.main([str(tmp_path / "text.zip"), "--storage", sqlite.url]) == 2
    assert "expected a file that search.pack wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["../../evil", "artifacts/../../evil", "artifacts/small/evil", "artifacts/other/trials/a"]
)
def test_files_outside_the_study_are_refused_before_anything_is_written(
    name: str, sqlite: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(make_search(small_config(), sqlite, tmp_path, complete, limits=Limits(1, 3, None)))
    file = tmp_path / "small.zip"
    assert pack.main(["small", str(file), "--storage", sqlite.url]) == 0
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("artifacts/small/trials/00000-1/stage-0.safetensors", b"first")
        archive.writestr(name, b"evil")
    store, there = tmp_path / "there", f"sqlite:///{tmp_path}/there.db"
    assert unpack.main([str(file), "--storage", there, "--artifacts", str(store)]) == 2
    assert f"has the file {name}; expected" in capsys.readouterr().err
    assert not store.exists()
    assert not list(tmp_path.parent.rglob("evil"))
