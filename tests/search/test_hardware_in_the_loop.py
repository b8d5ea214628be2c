"""The real command with FINN's own estimates: a study of accuracy against LUT, and the same networks asked again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import search.run
from fpga.toolchain.finn_environment import ensure_finn_environment
from search.processes.local_services import Service
from search.report import main as report
from search.run import main
from storage.database import open_database
from tests.search.estimate_maker import estimate_maker

STUDY_FILE = """
study: {name: looped, seed: 1, sampler: random}
objectives: {lut: {}}
constraints: {throughput_fps: {at_least: 20000}}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - type: depthwise_separable
      kernel_size: 7
      stride: 8
      out_channels: {choices: [8, 16]}
      weight_bit_width: {int: [4, 8]}
      activation_bit_width: 4
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 8}
budget: {trials: 3, epochs: 1}
promotion: {top: 0}
fpga: {target_fps: 20000}
"""

OPTIONS = ("--local", "--no-build", "--no-dashboard")


@pytest.fixture(autouse=True)
def in_folder_with_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPGA_FINN", str(ensure_finn_environment().python))  # behind the next line it would be made anew
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RADIOML_2018_01A", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("looped.yaml").write_text(STUDY_FILE)


@pytest.mark.slow
def test_front_of_accuracy_against_lut_is_reported_and_no_estimate_is_made_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("again.yaml").write_text(STUDY_FILE.replace("name: looped", "name: again"))

    assert main(["looped.yaml", *OPTIONS]) == 0
    assert "estimates: 3 made, 0 from earlier" in capsys.readouterr().out
    first = read_report("looped", capsys)
    assert first["objectives"] == {"accuracy": "maximize", "lut": "minimize"}
    assert first["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0, "waiting": 0, "stopped": 0}
    assert first["front"]
    for trial in first["front"]:
        assert trial["is_feasible"]
        assert trial["throughput_fps"] >= 20_000
        assert trial["lut"] > 500
        assert trial["latency_us"] > 0
    luts = [trial["lut"] for trial in first["front"]]
    assert luts == sorted(luts)

    assert main(["again.yaml", *OPTIONS]) == 0
    assert "estimates: 0 made, 3 from earlier" in capsys.readouterr().out
    again = read_report("again", capsys)
    assert again["front"] == first["front"]


@contextmanager
def worker_that_ends(database_url: str, artifacts: Path, n_processes: int, log: Path) -> Iterator[Service]:
    """An estimate worker that does not come up."""
    service = Service("estimate worker", ["no_such_module"], log)
    yield service
    service.stop()


@pytest.mark.slow
def test_run_ends_with_the_reason_when_the_estimate_worker_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.run, "run_estimate_worker", worker_that_ends)
    assert main(["looped.yaml", *OPTIONS]) == 1
    output = capsys.readouterr().out
    assert "the search ends: the estimate worker ended with exit code 1: " in output
    assert "No module named no_such_module" in output
    assert "trained and wait for their estimates: run again, the study goes on from here" in output
    assert "estimates: 0 made, 0 from earlier" in output
    counts = read_report("looped", capsys)["trials"]
    assert counts["running"] >= 1
    assert counts["failed"] == 0


@pytest.mark.slow
def test_estimates_of_other_machines_are_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.run, "run_estimate_worker", worker_that_ends)
    with estimate_maker(open_database("sqlite:///runs/studies.db")):
        assert main(["looped.yaml", *OPTIONS, "--no-estimates"]) == 0
    assert "estimates: 3 made, 0 from earlier" in capsys.readouterr().out
    assert read_report("looped", capsys)["trials"]["complete"] == 3


def read_report(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert report([name, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result
