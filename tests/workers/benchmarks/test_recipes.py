from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import workers.benchmarks.recipes
from spaces.architecture import ArchitectureConfig
from spaces.blocks import GlobalPool, InputQuantizer, Linear
from spaces.pruning_stages import CostAwareStage
from spaces.search_space import Design, TrainingSettings
from storage.records import Cost, Evaluation
from tests.workers.conftest import dsc
from workers.benchmarks.campaigns import Campaign, run_campaign
from workers.benchmarks.recipes import (
    find_cost,
    format_pruning,
    format_recipe,
    format_small_net,
    interpolate,
    main,
    pruning_ways,
    recipe_ways,
    small_net_ways,
)
from workers.requests import DatasetRequest

TINY = ArchitectureConfig(
    blocks=(InputQuantizer(), dsc(9, 16, 8, 4, 4), GlobalPool(), Linear(out_features=24, weight_bit_width=4))
)
EVALUATION = Evaluation("b", 0, 0, 0.5, {}, 10, Cost(0, 0, 0.01, 0), {}, 1, 0, 1.0, "weights")


def curve(*points: tuple[float, float]) -> tuple[Evaluation, ...]:
    """Of (inference cost, accuracy)."""
    return tuple(
        dataclasses.replace(EVALUATION, stage=stage, accuracy=accuracy, cost=Cost(0, 0, cost, 0))
        for stage, (cost, accuracy) in enumerate(points)
    )


def test_accuracy_between_two_points_is_linear_in_the_logarithm_of_the_cost() -> None:
    lineage = curve((0.04, 0.50), (0.01, 0.40), (0.0025, 0.20))
    assert interpolate(lineage, 0.02) == pytest.approx(0.45)
    assert interpolate(lineage, 0.005) == pytest.approx(0.30)
    assert interpolate(lineage, 0.05) is None
    assert interpolate(lineage, 0.002) is None


def test_table_has_mean_and_standard_error_over_the_seeds() -> None:
    results = {"a": [curve((0.04, 0.5), (0.01, 0.3)), curve((0.04, 0.5), (0.01, 0.4))], "b": [curve((0.04, 0.5))] * 2}
    assert format_pruning(results, [0.02, 0.01]).splitlines()[2:] == [
        "| a | 42.50 ± 2.50 | 35.00 ± 5.00 |",
        "| b | - | - |",
    ]


def test_cost_at_equal_accuracy_is_of_the_mean_curve() -> None:
    curves = [curve((0.04, 0.50), (0.01, 0.42)), curve((0.04, 0.52), (0.01, 0.40))]
    assert find_cost(curves, 0.46) == pytest.approx(0.02)
    assert find_cost(curves, 0.30) == 0.01
    assert find_cost(curves, 0.60) is None
    old = [curve((0.1, 0.46)), curve((0.1, 0.46))]
    rows = format_small_net({"old": old, "new": curves}).splitlines()[2:]
    assert rows == [
        "| old, 0 | 0.10000 | 46.00 ± 0.00 | 46.00 | 0.0 | 0.20 |",
        "| new, 0 | 0.04000 | 51.00 ± 1.00 | 50.00 | 0.0 |  |",
        "| new, 1 | 0.01000 | 41.00 ± 1.00 | 40.00 | 0.0 |  |",
    ]


def test_gain_is_of_the_same_seeds() -> None:
    results = {5: {"old": [curve((1, 0.30)), curve((1, 0.40))], "new": [curve((1, 0.32)), curve((1, 0.42))]}}
    assert format_recipe(results).splitlines()[2:] == [
        "| old | 35.00 ± 5.00 |  |",
        "| new | 37.00 ± 5.00 | +2.00 ± 0.00 |",
    ]


def test_all_ways_train_the_same_network_for_the_same_time() -> None:
    assert [len(way.stages) for way in small_net_ways().values()] == [3, 4]
    for ways in (pruning_ways(), recipe_ways(5)):
        epochs = {way.training.epochs + sum(stage.epochs for stage in way.stages) for way in ways.values()}
        assert len(epochs) == 1
        assert len({way.architecture_id for way in ways.values()}) == 1


def test_campaign_trains_each_way_once(tmp_path: Path, twin_path: Path) -> None:
    training = TrainingSettings(epochs=1, batch_size=256, restart_epochs=None, schedule="hold")
    stages = (CostAwareStage(inference_cost=0.0008, epochs=1),)
    ways = {"one": Design(architecture=TINY, training=training, stages=stages)}
    campaign = Campaign(ways, 2, DatasetRequest(str(twin_path), None, -6, 0.2), tmp_path, processes=2)
    lines: list[str] = []
    results = run_campaign(campaign, lines.append)
    assert [len(stages) for stages in results["one"]] == [2, 2]
    assert results["one"][0] != results["one"][1]
    assert sorted(line.split(":")[0] for line in lines) == ["one, seed 0", "one, seed 1"]
    assert "2 of 2 done, about 0 minutes left" in lines[1]
    assert run_campaign(campaign, lines.append) == results, "read back: not even the seconds differ"


def test_command_prints_both_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, twin_path: Path
) -> None:
    monkeypatch.setattr(workers.benchmarks.recipes, "BACALHAUNET", TINY)
    monkeypatch.setattr(workers.benchmarks.recipes, "TARGETS", (0.0008,))
    monkeypatch.setattr(workers.benchmarks.recipes, "EPSILONS", (0.1,))
    monkeypatch.setattr(workers.benchmarks.recipes, "ensure_twin", lambda *_, **__: twin_path)
    for name in ("FIRST_EPOCHS", "STAGE_EPOCHS"):
        monkeypatch.setattr(workers.benchmarks.recipes, name, 1)
    common = ["--seeds", "1", "--folder", str(tmp_path)]
    assert main(["pruning", *common]) == 0
    assert "| cost-aware, gradual, hold |" in capsys.readouterr().out
    assert main(["recipe", "--epochs", "1", *common]) == 0
    assert "| change | 1 epoch | gain, 1 epoch |" in capsys.readouterr().out


def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["recipe", "--seeds", "0"])
    assert "expected at least 1 seed" in capsys.readouterr().err
