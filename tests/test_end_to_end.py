"""The whole chain as a user runs it: study file in, Pareto front and FINN report out, through Ray and a real build."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: str, exit_code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


def load_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(folder, "search.report", "smoke", "--json"))
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the smoke study ran once, by the README's main command."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "printed.txt").write_text(run(folder, "search.run", str(ROOT / "spaces" / "smoke.yaml")))
    return folder


def test_run_says_where_its_pages_are(folder: Path) -> None:
    printed = (folder / "printed.txt").read_text()
    assert re.search(r"^pages: http://127\.0\.0\.1:\d+/pages/studies/smoke$", printed, re.MULTILINE)


def test_study_ends_with_a_front_and_a_finished_build(folder: Path) -> None:
    report = load_report(folder)
    assert report["trials"] == {"complete": 4, "pruned": 0, "failed": 0, "running": 0, "waiting": 0, "stopped": 0}
    assert len(report["front"]) >= 1
    assert {"trial", "accuracy", "inference_cost", "bit_ops", "weight_bits", "parameters"} <= set(report["front"][0])
    (build,) = report["builds"]
    assert build["state"] == "succeeded"
    assert build["board"] == "ZCU111"
    assert (build["trial"], build["stage"]) in [(point["trial"], point["stage"]) for point in report["front"]]
    assert min(build[key] for key in ("lut", "bram_18k", "throughput_fps", "latency_us")) > 0
    assert build["dsp"] >= 0


def test_exported_file_has_the_cost_of_the_report(folder: Path) -> None:
    report = load_report(folder)
    number, stage = report["builds"][0]["trial"], report["builds"][0]["stage"]
    (point,) = [p for p in report["front"] if (p["trial"], p["stage"]) == (number, stage)]
    (model,) = (folder / "runs/artifacts/smoke/trials").glob(f"{number:05d}-*/stage-{stage}/model.onnx")
    score = json.loads(run(folder, "workers.inference_cost", str(model), "--json"))
    assert score["bit_ops"] == pytest.approx(point["bit_ops"], rel=1e-12)
    assert score["weight_bits"] == pytest.approx(point["weight_bits"], rel=1e-12)
    assert score["inference_cost"] == pytest.approx(point["inference_cost"], rel=1e-12)


def test_the_notebook_runs_and_classifies_as_the_build_does(folder: Path) -> None:
    notebook = json.loads((ROOT / "search" / "results.ipynb").read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (folder / "notebook.py").write_text(code)
    printed = run(folder, "notebook")
    assert "in integers: True" in printed
    assert "same classes as the build: True" in printed
    assert (folder / "network.onnx").stat().st_size > 0


def test_front_is_written_as_table_and_page(folder: Path) -> None:
    report = load_report(folder)
    with (folder / "runs" / "smoke-front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [trial["trial"] for trial in report["front"]]
    page = (folder / "runs" / "smoke-report.html").read_text()
    assert "Pareto front of smoke" in page
    assert str(report["builds"][0]["lut"]) in page.replace(",", "")


def test_the_same_command_again_resumes(folder: Path) -> None:
    before = load_report(folder)
    printed = run(folder, "search.run", str(ROOT / "spaces" / "smoke.yaml"))
    assert "is complete" in printed
    assert load_report(folder) == before


def build_states(folder: Path) -> dict[tuple[int, int], str]:
    builds = load_report(folder)["builds"]
    return {(build["trial"], build["stage"]): build["state"] for build in builds}


def test_another_trial_and_both_stages_of_it_are_promoted_by_hand(folder: Path) -> None:
    ((built, stage),) = build_states(folder)
    other = next(number for number in range(4) if number != built)
    assert f"trial {other} stage 1 of smoke: build 2" in run(folder, "search.promote", "smoke", str(other))
    run(folder, "search.promote", "smoke", str(other), "--stage", "1")
    run(folder, "search.promote", "smoke", str(other), "--stage", "0")
    assert build_states(folder) == {(built, stage): "succeeded", (other, 1): "queued", (other, 0): "queued"}
    database = f"sqlite:///{folder}/runs/studies.db"
    run(folder, "fpga.run", "--database", database, "--artifacts", str(folder / "runs" / "artifacts"), "--drain")
    assert build_states(folder) == {(built, stage): "succeeded", (other, 1): "succeeded", (other, 0): "succeeded"}


def test_a_study_is_extended(folder: Path) -> None:
    run(folder, "search.run", str(ROOT / "spaces" / "smoke.yaml"), "--extend", "1", "--local", "--no-build")
    assert load_report(folder)["trials"]["complete"] == 5


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_study_runs_on_postgresql(database_url: str, tmp_path: Path) -> None:
    run(tmp_path, "search.run", str(ROOT / "spaces" / "smoke.yaml"), "--storage", database_url, "--local", "--no-build")
    report = json.loads(run(tmp_path, "search.report", "smoke", "--json", "--storage", database_url))
    assert report["trials"]["complete"] == 4
    assert [build["state"] for build in report["builds"]] == ["queued"]
    assert not (tmp_path / "runs" / "studies.db").exists()
    assert "Pareto front of smoke" in (tmp_path / "runs" / "smoke-report.html").read_text()
