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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import delete, update

from search import pack, packing, run, unpack
from search.budget import Limits
from search.loop import run_search
from search.optuna_storage import open_optuna_storage
from search.processes.driver_lease import hold_study
from search.reports.formats import report_as_json
from search.reports.study_report import load_study_report
from storage.database import open_database
from storage.evaluations import load_evaluations
from storage.studies import load_study_record
from storage.tables import estimates, evaluations, studies
from tests.search.estimate_maker import estimate_maker
from tests.search.search_study import DATA, complete, hardware_config, make_search

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


@dataclass(frozen=True)
class Place:
    """A database and a folder of artifacts."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/studies.db"

    @property
    def options(self) -> list[str]:
        return ["--storage", self.url, "--artifacts", str(self.folder / "artifacts")]

    def report(self) -> dict[str, Any]:
        return report_as_json(load_study_report(open_database(self.url), "small"))


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """With a study of hardware metrics in it."""
    place = Place(tmp_path / "here")
    database = open_database(place.url)
    with estimate_maker(database):
        config = hardware_config("lut: {}, latency_us: {}")
        run_search(make_search(config, database, place.folder, complete, limits=Limits(4, 12, None)))
    with database.engine.begin() as connection:
        connection.execute(update(studies).values(provenance={**DATA, "data_file": "/home/somebody/data.hdf5"}))
    return place


@pytest.fixture
def there(tmp_path: Path) -> Place:
    return Place(tmp_path / "there")


@pytest.fixture
def file(here: Place, tmp_path: Path) -> Path:
    """The study, packed."""
    path = tmp_path / "small.zip"
    assert pack.main(["small", str(path), *here.options]) == 0
    return path


def test_study_of_hardware_metrics_has_the_same_report_elsewhere(
    here: Place, there: Place, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack.main(["small", str(file), *here.options]) == 0
    assert "4 trials of small, 0 files" in capsys.readouterr().out
    assert unpack.main([str(file), *there.options]) == 0
    assert there.report() == here.report()
    record = load_study_record(open_database(there.url), "small")
    assert record is not None
    assert record.provenance == {**DATA, "data_file": "data.hdf5"}, "without the folder that it had there"
    assert unpack.main([str(file), *there.options]) == 2
    assert "study small is in the database already" in capsys.readouterr().err
    assert there.report() == here.report()


def test_rows_without_a_study_of_optunas_are_kept(here: Place, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As after the study was deleted in Optuna dashboard."""
    storage = open_optuna_storage(open_database(here.url))
    for name in optuna.study.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    before = len(load_evaluations(open_database(here.url), "small"))
    assert unpack.main([str(file), *here.options]) == 2
    assert "study small is in the database already" in capsys.readouterr().err
    assert len(load_evaluations(open_database(here.url), "small")) == before == 8


def test_process_that_is_killed_while_it_unpacks_leaves_no_study(
    here: Place, there: Place, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packing, "copy_study_rows", interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpack.main([str(file), *there.options])
    assert "small" not in optuna.study.get_all_study_names(open_optuna_storage(open_database(there.url)))
    assert unpack.main([str(file), *there.options]) == 0
    assert there.report() == here.report()
    assert optuna.study.get_all_study_names(open_optuna_storage(open_database(there.url))) == ["small"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_study_that_is_driven_is_neither_packed_nor_unpacked(
    here: Place, there: Place, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, call in ((here, pack.main), (there, unpack.main)):
        with hold_study(open_database(place.url), "small"):
            arguments = ["small", str(file)] if place is here else [str(file)]
            assert call([*arguments, *place.options]) == 2
            assert "small" in capsys.readouterr().err
    assert optuna.study.get_all_study_names(open_optuna_storage(open_database(there.url))) == []


def test_other_estimates_of_the_same_networks_are_refused(
    here: Place, there: Place, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unpack.main([str(file), *there.options]) == 0
    database = open_database(there.url)
    with database.engine.begin() as connection:
        for table in (evaluations, studies):
            connection.execute(delete(table))
        connection.execute(update(estimates).values(hardware={"lut": 1}))
    storage = open_optuna_storage(database)
    optuna.delete_study(study_name="small", storage=storage)
    assert unpack.main([str(file), *there.options]) == 2
    assert "another estimate of small's networks" in capsys.readouterr().err
    assert "small" not in optuna.study.get_all_study_names(storage)


def test_bad_files_are_named_and_leave_nothing(
    here: Place, there: Place, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack.main(["none", str(tmp_path / "none.zip"), *here.options]) == 2
    assert "study is none" in capsys.readouterr().err
    assert not (tmp_path / "none.zip").exists()
    assert pack.main(["small", str(tmp_path), *here.options]) == 2
    assert "is a folder; expected a file" in capsys.readouterr().err

    text = tmp_path / "notes.txt"
    text.write_text("my notes")
    assert pack.main(["small", str(text), *here.options]) == 2
    assert text.read_text() == "my notes"
    assert unpack.main([str(text), *there.options]) == 2
    assert unpack.main([str(tmp_path / "none.zip"), *there.options]) == 2
    for position in (*range(60, 2000, 97), file.stat().st_size - 10):  # different errors of zipfile and zlib
        damaged = bytearray(file.read_bytes())
        damaged[position] ^= 255
        (tmp_path / "damaged.zip").write_bytes(damaged)
        assert unpack.main([str(tmp_path / "damaged.zip"), *there.options]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 24
    assert all("expected a file that search.pack wrote" in error for error in errors)
    assert not (there.folder / "artifacts").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "artifacts/../../evil",
        "artifacts/small/evil",
        "artifacts/other/trials/00000-01234567/evil",
        "artifacts/small/trials/00000-01234567/../evil",
        "artifacts/small/trials/00000-01234567/",
        "artifacts/small/trials/evil/evil",
    ],
)
def test_files_outside_the_study_are_refused_before_anything_is_written(
    name: str, there: Place, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("artifacts/small/trials/00000-01234567/stage-0.safetensors", b"first")
        archive.writestr(name, b"evil")
    assert unpack.main([str(file), *there.options]) == 2
    assert f"has the file {name}; expected artifacts/small/trials/TRIAL/FILE" in capsys.readouterr().err
    assert not (there.folder / "artifacts").exists()
    assert not list(there.folder.parent.parent.rglob("evil"))


def test_file_that_is_there_is_not_replaced(there: Place, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relative = "small/trials/00000-01234567/stage-0.safetensors"
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"artifacts/{relative}", b"packed")
    path = there.folder / "artifacts" / relative
    path.parent.mkdir(parents=True)
    path.write_bytes(b"own")
    assert unpack.main([str(file), *there.options]) == 2
    assert "is there already with other content; expected another --artifacts" in capsys.readouterr().err
    assert path.read_bytes() == b"own"
    path.write_bytes(b"packed")
    assert unpack.main([str(file), *there.options]) == 0
