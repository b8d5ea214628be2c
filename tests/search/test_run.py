"""The real command, in this process and without Ray or FINN: what a study leaves behind, and what comes after it."""

import json
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

import search.run
from search.processes.driver_lease import hold_study
from search.promote import main as promote
from search.report import main as report
from search.run import main
from storage.builds import claim_build, fail_build, load_builds
from storage.database import Database, open_database
from storage.records import BuildState
from storage.tables import builds

STUDY_FILE = """
study: {name: tiny, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - type: depthwise_separable
      kernel_size: 7
      stride: 16
      out_channels: {int: [4, 64]}
      weight_bit_width: {int: [4, 8]}
      activation_bit_width: 4
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 8}
budget: {trials: 2, epochs: 1}
"""

OPTIONS = ("--local", "--no-build", "--no-dashboard")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study was run to its end."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(STUDY_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.delenv("RADIOML_2018_01A", raising=False)
        assert main(["tiny.yaml", *OPTIONS]) == 0
    return folder


@pytest.fixture(autouse=True)
def database(home: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The study's database; the current folder is that of the study."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.delenv("RADIOML_2018_01A", raising=False)
    return open_database("sqlite:///runs/studies.db")


def test_front_is_left_as_table_and_as_page(home: Path) -> None:
    assert (home / "runs/tiny-front.csv").read_text().startswith("trial,stage,accuracy,inference_cost,")
    assert "tiny" in (home / "runs/tiny-report.html").read_text()


def test_winner_is_queued_with_network_reference_vectors_and_test_accuracy(home: Path, database: Database) -> None:
    build = load_builds(database, "tiny")[0]
    assert build.is_below_threshold
    assert build.test_accuracy is not None
    assert (home / "runs/artifacts" / build.model).is_file()
    vectors = np.load(home / "runs/artifacts" / build.reference_vectors)
    assert vectors["frames"].shape == (200, 2, 1024)
    assert vectors["logits"].shape == (200, 24)


def test_finished_study_is_not_run_again(capsys: pytest.CaptureFixture[str], database: Database) -> None:
    n_builds = len(load_builds(database, "tiny"))
    assert main(["tiny.yaml", *OPTIONS]) == 0
    output = capsys.readouterr().out
    assert "study tiny is complete: all 2 trials are complete" in output
    assert "--extend N adds N trials" in output
    assert "tiny: the front" in output
    assert len(load_builds(database, "tiny")) == n_builds


def test_changed_space_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "changed.yaml").write_text(STUDY_FILE.replace("kernel_size: 7", "kernel_size: 9"))
    assert main(["changed.yaml", *OPTIONS]) == 2
    assert "study.name is tiny; this study was started on" in capsys.readouterr().err


def test_second_driver_is_refused(capsys: pytest.CaptureFixture[str], database: Database) -> None:
    with hold_study(database, "tiny"):
        assert main(["tiny.yaml", *OPTIONS]) == 2
    assert "study tiny is being run by" in capsys.readouterr().err


def test_promotion_of_one_trial_is_idempotent(capsys: pytest.CaptureFixture[str], database: Database) -> None:
    assert promote(["tiny", "0"]) == 0
    assert promote(["tiny", "0"]) == 0
    assert "frames/s is queued; python -m fpga.run builds it" in capsys.readouterr().out
    assert [build.trial_number for build in load_builds(database, "tiny")].count(0) == 1


def test_promotion_that_was_killed_while_measuring_is_measured_by_the_next(database: Database) -> None:
    build = load_builds(database, "tiny")[0]
    with database.engine.begin() as connection:
        connection.execute(update(builds).values(test_accuracy=None))  # as queued, before the test part was measured
    assert promote(["tiny", str(build.trial_number)]) == 0
    assert load_builds(database, "tiny")[0] == build


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        ({"state": "running"}, "is running"),
        ({"state": "succeeded", "folder": "builds/0"}, "is finished in runs/artifacts/builds/0"),
        (
            {"state": "succeeded", "folder": "builds/0", "level": "codegen", "level_note": "no Vivado"},
            "is finished in runs/artifacts/builds/0, up to codegen: no Vivado",
        ),
    ],
)
def test_a_promotion_says_how_its_build_stands(
    database: Database, capsys: pytest.CaptureFixture[str], values: dict[str, object], ending: str
) -> None:
    build = load_builds(database, "tiny")[0]
    with database.engine.begin() as connection:
        connection.execute(update(builds).values(**values))
    assert promote(["tiny", str(build.trial_number), "--stage", str(build.stage)]) == 0
    assert capsys.readouterr().out.endswith(f"frames/s {ending}\n")


def test_failed_build_is_queued_anew_without_a_second_look_at_the_test_part(database: Database) -> None:
    assert promote(["tiny", "1"]) == 0
    while (claimed := claim_build(database, "me", 60)) is not None:
        assert fail_build(database, claimed.build_id, "me", "no luck")
    assert promote(["tiny", "1"]) == 0
    first, second = (build for build in load_builds(database, "tiny") if build.trial_number == 1)
    assert (first.state, second.state) == (BuildState.FAILED, BuildState.QUEUED)
    assert first.test_accuracy == second.test_accuracy


@pytest.mark.parametrize(
    ("study", "trial", "message"),
    [
        ("tony", "0", "study is tony; expected one of those in the database: tiny"),
        ("tiny", "99", "trial is 99; expected a complete trial of tiny, such as its front"),
    ],
)
def test_unknown_study_or_trial_is_not_promoted(
    capsys: pytest.CaptureFixture[str], study: str, trial: str, message: str
) -> None:
    assert promote([study, trial]) == 2
    assert message in capsys.readouterr().err


def test_extension_adds_trials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", *OPTIONS, "--extend", "1"]) == 0
    capsys.readouterr()
    assert report(["tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"]["complete"] == 3


@pytest.mark.parametrize(
    ("step", "expected"), [("open_dataset", f"{' '.join(OPTIONS)} --extend 1"), ("drive_study", " ".join(OPTIONS))]
)
def test_interrupted_extension_goes_on_without_being_added_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str, expected: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search.run, step, interrupt)
    assert main(["tiny.yaml", *OPTIONS, "--extend", "1"]) == 130
    assert capsys.readouterr().err.endswith(f"go on with: python -m search.run tiny.yaml {expected}\n")
