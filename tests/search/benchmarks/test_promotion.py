"""The benchmark of promotions: its studies are whole, its table says the median, and a real round ends."""

import json
from pathlib import Path

import pytest

from search.benchmarks.promotion import NETWORKS, BenchmarkError, Round, describe_rounds, main, make_study, run_round
from spaces.study_config import parse_study_config


@pytest.mark.parametrize("name", NETWORKS)
def test_study_holds_the_network_and_no_choice(name: str) -> None:
    config = parse_study_config(json.dumps(make_study(NETWORKS[name], 1, 16)), "benchmark")
    assert config.search_space.space.blocks
    assert config.promotion.top == 0
    assert "choices" not in config.text


def test_table_has_median_and_longest_of_each_network() -> None:
    rounds = [Round("A", 9, 12, seconds, 16) for seconds in (20.0, 50.0, 30.0)]
    table = describe_rounds(rounds)
    assert "| A | 3 | 9 (at most 9) | 12 (at most 12) | 30 (at most 50) |" in table
    assert "twin of 16 frames per cell" in table


def test_failing_training_is_told_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"search.run ended with exit code 2: dataset.twin.frames_per_cell is 1"):
        run_round("BacalhauNet w6a6", 1, 1, tmp_path / "round")


@pytest.mark.slow
def test_round_measures_a_real_promotion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--networks", "BacalhauNet w6a6", "--rounds", "1", "--frames-per-cell", "8", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert 0 < one["queued_s"] <= one["promoted_s"]
    assert one["queued_s"] < one["finished_s"]
    assert one["frames_per_cell"] == 8
