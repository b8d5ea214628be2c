"""The studies of published systems, each at its smallest: a few frames, one epoch, and the report that it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from search import report, run
from spaces.papers import PAPER_TABLES
from spaces.study_config import load_study_config

SPACES = Path(__file__).parents[2] / "spaces"

STUDIES = (
    "aaronnet",
    "amc_imp",
    "bacalhaunet",
    "bacalhaunet_architectures",
    "bacalhaunet_bits",
    "bacalhaunet_input",
    "bacalhaunet_kernels",
    "bacalhaunet_pruning",
    "hakimi_cnn",
    "mobilenetv3_small",
    "per_layer_bits",
    "prototype_staged",
    "rothe_vgglike",
    "slimming",
)


def shrink(study: str) -> str:
    """The study with its fewest frames, two trials, an epoch of training, and at most two stages without any."""
    tree: dict[str, Any] = yaml.safe_load((SPACES / f"{study}.yaml").read_text(encoding="utf-8"))
    tree["dataset"]["twin"]["frames_per_cell"] = 8
    tree["budget"] = {"trials": 2, "epochs": 1}
    tree["training"]["batch_size"] = 512
    if "stages" in tree:
        tree["stages"] = [{**stage, "trials": 1} for stage in tree["stages"]]
        tree["budget"]["trials"] = len(tree["stages"])
    if "stages" in tree.get("pruning", {}):
        tree["pruning"]["stages"] = [{**stage, "epochs": 0} for stage in tree["pruning"]["stages"][:2]]
    return yaml.safe_dump(tree)


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_study_runs_and_its_report_has_the_papers_table(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(shrink(study))
    assert run.main(["study.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    capsys.readouterr()
    assert report.main([study, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trials"]["complete"] >= 1
    assert told["trials"]["failed"] == 0
    paper = load_study_config(SPACES / f"{study}.yaml").paper
    if paper is None:
        return
    rows = told["paper"]["rows"]
    assert [row["network"] for row in rows] == list(PAPER_TABLES[paper].rows)
    assert any(row["accuracies"] for row in rows)
    assert report.main([study]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{PAPER_TABLES[paper].title}, and here" in shown


def test_every_published_table_has_a_study() -> None:
    named = {load_study_config(path).paper for path in SPACES.glob("*.yaml")} - {None}
    assert named == set(PAPER_TABLES)
