"""Winners are trained again beside BacalhauNet, and measured on frames that no search has seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search import run
from search.benchmarks.winners import (
    BASELINE,
    SAME_TRAINING,
    Judged,
    JudgedSeed,
    Wanted,
    fill_epochs,
    find_winner,
    format_judged,
    list_ways,
    main,
)
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError
from spaces.architecture import ArchitectureConfig
from spaces.blocks import GlobalPool, InputQuantizer, Linear
from spaces.pruning_stages import CostAwareStage
from spaces.search_space import Design, TrainingSettings
from storage.database import open_database

STUDY = """
study: {name: tiny, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - {type: depthwise_separable, kernel_size: 9, stride: 4, out_channels: {int: [8, 16]}}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 128}
pruning:
  stages:
    - {kind: cost_aware, inference_cost: 0.0005, epochs: 1}
    - {kind: cost_aware, inference_cost: 0.0004, epochs: 1}
budget: {trials: 1, epochs: 1}
"""

DESIGN = Design(
    architecture=ArchitectureConfig(
        blocks=(InputQuantizer(), GlobalPool(), Linear(out_features=24, weight_bit_width=4)),
    ),
    training=TrainingSettings(epochs=3),
    stages=(),
)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyReport:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY)
    assert run.main(["tiny.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return load_study_report(open_database("sqlite:///runs/studies.db"), "tiny")


@pytest.mark.slow
def test_winner_and_baseline_are_judged_on_the_same_frames(
    report: StudyReport, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["tiny", "0:1", "--seeds", "2", "--no-build"]) == 0
    _, _, baseline, in_our_way, winner = capsys.readouterr().out.splitlines()
    assert baseline.startswith(f"| {BASELINE} |")
    assert in_our_way.startswith(f"| {SAME_TRAINING} |")
    assert winner.startswith("| trial 0, stage 1 |")
    assert Path("runs/winners/winners.png").read_bytes().startswith(b"\x89PNG")
    judged = json.loads(Path("runs/winners/winners.json").read_text())
    assert [len(one["seeds"]) for one in judged] == [2, 2, 2]
    assert [one["design"]["architecture"] for one in judged][2] == json.loads(
        report.trials[0].design.architecture.model_dump_json()
    )
    for one in judged:
        assert len({seed["n_frames"] for seed in one["seeds"]}) == 1
        assert one["seeds"][0] != one["seeds"][1]
        design = Design.model_validate_json(json.dumps(one["design"]))
        assert design.n_epochs == 15
    assert judged[2]["seeds"][0]["inference_cost"] == pytest.approx(0.0005, rel=0.02)
    for folder in ("BacalhauNet-its-papers-method", "trial-0-stage-1"):
        files = {file.name for file in Path("runs/winners/artifacts", folder).iterdir()}
        assert files == {"architecture.json", "weights.safetensors", "model.onnx", "proof.npz"}


def test_winner_is_trained_up_to_its_own_stage_and_from_nothing(report: StudyReport) -> None:
    name, design = find_winner(report, Wanted(0, 1))
    assert (name, len(design.stages)) == ("trial 0, stage 1", 1)
    assert len(find_winner(report, Wanted(0, 0))[1].stages) == 0
    name, design = find_winner(report, Wanted(0, 2, 0.00045))
    assert name == "trial 0, stage 2 at 0.00045"
    assert [getattr(stage, "inference_cost", None) for stage in design.stages] == [0.0005, 0.00045]
    with pytest.raises(StudyError, match="stage is 3; expected a stage of trial 0 of tiny: 0, 1, 2"):
        find_winner(report, Wanted(0, 3))
    with pytest.raises(StudyError, match="trial 0, stage 0 is pruned to no inference cost"):
        find_winner(report, Wanted(0, 0, 0.00045))
    with pytest.raises(StudyError, match=r"trial 0, stage 1: pruning.stages\[0\].inference_cost is 1e-06; expected"):
        find_winner(report, Wanted(0, 1, 1e-6))
    trial = report.trials[0]
    heir = replace(trial, design=trial.design.model_copy(update={"parent": trial.design}))
    with pytest.raises(StudyError, match="trial 0 began with another's weights"):
        find_winner(replace(report, trials=(heir,)), Wanted(0, 1))
    blocks = trial.design.architecture.blocks
    floats = trial.design.architecture.model_copy(update={"blocks": blocks[1:]})
    as_float = replace(trial, design=trial.design.model_copy(update={"architecture": floats}))
    with pytest.raises(StudyError, match="trial 0, stage 1: the network has 32-bit weights or activations"):
        find_winner(replace(report, trials=(as_float,)), Wanted(0, 1))


def test_winner_is_trained_as_long_as_the_baseline() -> None:
    stage = CostAwareStage(inference_cost=0.01, epochs=2)
    design = DESIGN.model_copy(update={"stages": (stage, stage)})
    for n_epochs, expected in ((7, [3, 2, 2]), (9, [3, 3, 3]), (11, [4, 3, 4])):
        filled = fill_epochs(design, n_epochs)
        assert [filled.training.epochs, *(one.epochs for one in filled.stages)] == expected
        assert filled.architecture == design.architecture
    assert fill_epochs(DESIGN, 5).training.epochs == 5
    assert {way.n_epochs for way in list_ways({"one": design}).values()} == {15}
    longer = DESIGN.model_copy(update={"training": TrainingSettings(epochs=16)})
    with pytest.raises(StudyError, match="one has 16 epochs; expected at most 15"):
        list_ways({"one": longer})


def test_table_has_mean_and_standard_error_and_the_share_of_the_cost() -> None:
    def judge(name: str, cost: float, *tests: float) -> Judged:
        seeds = tuple(JudgedSeed(seed, cost, 0.5, test, test - 0.1, 100) for seed, test in enumerate(tests))
        return Judged(name, DESIGN, (), seeds)

    rows = format_judged([judge("old", 0.02, 0.40, 0.44), judge("new", 0.01, 0.5, 0.5)]).splitlines()
    assert "test, 100 frames" in rows[0]
    assert rows[2:] == [
        "| old | 0.02000 | 1.00 | 3 | 50.00 ± 0.00 | 42.00 ± 2.00 | 32.00 ± 2.00 | 40.00 |",
        "| new | 0.01000 | 0.50 | 3 | 50.00 ± 0.00 | 50.00 ± 0.00 | 40.00 ± 0.00 | 50.00 |",
    ]


def test_exported_training_is_the_median_by_validation() -> None:
    seeds = tuple(JudgedSeed(seed, 0.01, value, 0.0, 0.0, 1) for seed, value in enumerate((0.5, 0.3, 0.4)))
    assert Judged("one", DESIGN, (), seeds).median == 2
    assert Judged("one", DESIGN, (), seeds[:2]).median == 1


def test_unknown_study_and_malformed_point_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    open_database(url)
    assert main(["none", "0:1", "--storage", url]) == 2
    assert "study is none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["none", "0"])
    assert "it is 0; expected TRIAL:STAGE or TRIAL:STAGE:COST, such as 12:3:0.0098" in capsys.readouterr().err
