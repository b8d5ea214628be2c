"""Strategies are replayed on a table of designs: what they are charged for, and what counts as found."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest

from search.benchmarks.recorded_designs import (
    Measurement,
    RecordedDesign,
    list_designs,
    read_table,
    recorded_study,
    write_table,
)
from search.benchmarks.strategies import (
    ALL_POINTS,
    KNOWN_DESIGN,
    OURS,
    PEERS,
    Ours,
    Strategy,
    Table,
    main,
)
from search.benchmarks.strategy_curves import Trace, find_best, find_epochs, format_table, measure_curve
from workers.inference_cost import count_cost

TARGETS = (0.008, 0.0055, 0.004, 0.003)


@pytest.fixture(scope="module")
def designs() -> list[RecordedDesign]:
    """By formula: a design has a quality of its own, and a network is the better the longer it trains."""
    generator = random.Random(5)
    found = []
    for params, design in list_designs(recorded_study()):
        dense = count_cost(design.architecture, {}).inference_cost
        is_wide, is_long = params["space.blocks[1].out_channels"] == 32, params["space.blocks[1].kernel_size"] == 27
        quality = 0.32 + 0.02 * math.log(dense / 0.01) + 0.03 * is_long + 0.02 * is_wide + generator.gauss(0, 0.005)
        measurements = []
        for epoch in range(2, 15):
            stage = (epoch - 6) // 2 if epoch >= 6 and epoch % 2 == 0 else None
            cost = dense if epoch <= 6 else min(dense, TARGETS[(epoch - 7) // 2])
            accuracy = quality * (1 - 0.5 * math.exp(-epoch / 2.5)) - 0.02 * math.log(dense / cost)
            measurements.append(Measurement(epoch, stage, accuracy, cost))
        found.append(RecordedDesign(params, tuple(measurements)))
    return found


@pytest.fixture(scope="module")
def table(designs: list[RecordedDesign]) -> Table:
    return Table(designs)


def test_all_designs_of_the_space_are_recorded_once(designs: list[RecordedDesign], table: Table) -> None:
    assert len(designs) == len(table.designs) == 216
    assert [point.epoch for point in designs[0].points] == [6, 8, 10, 12, 14]


def test_table_is_read_back(designs: list[RecordedDesign], tmp_path: Path) -> None:
    write_table(designs, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv")
    assert [dict(design.params) for design in again] == [dict(design.params) for design in designs]
    for one, other in zip(again, designs, strict=True):
        for a, b in zip(one.measurements, other.measurements, strict=True):
            assert (a.epoch, a.stage) == (b.epoch, b.stage)
            assert (a.accuracy, a.inference_cost) == pytest.approx((b.accuracy, b.inference_cost), rel=1e-4)


@pytest.mark.parametrize("name", list(PEERS))
def test_peers_find_one_point_at_the_end_of_each_trial(name: str, table: Table) -> None:
    if name == "Syne Tune MO-ASHA":
        pytest.importorskip("syne_tune", reason="it is in the extra benchmark")
    trace = PEERS[name](table, 200, 3)
    assert 200 <= trace.epochs < 214
    known = {(p.accuracy, p.inference_cost) for design in table.designs.values() for p in design.measurements}
    assert set(trace.points) <= known
    spent = [epochs for epochs, _, _ in trace.found]
    least = 3 if name == "Syne Tune MO-ASHA" else 6  # its first rung, and a network that is not pruned
    assert all(later - before >= least for before, later in itertools.pairwise(spent))
    again = PEERS[name](table, 200, 3)
    assert again.found == trace.found, "the same seed gives the same run"


def test_ours_finds_the_points_of_all_stages_and_is_charged_for_stopped_trials(table: Table) -> None:
    whole = Ours(stops=False, chooses=False, starts_warm=False)(table, 200, 3)
    assert 200 <= whole.epochs < 214
    assert len(whole.points) == whole.epochs / 14 * 5
    stopped = Ours(chooses=False, starts_warm=False)(table, 200, 3)
    ends = [epochs for epochs, _, _ in stopped.found]
    assert len(stopped.points) < stopped.epochs / 14 * 5, "a trial that is stopped has fewer points"
    assert ends == sorted(ends)


def test_choosing_needs_less_training_than_the_sampler_alone(table: Table) -> None:
    at = list(range(20, 301, 10))

    def mean_volume(strategy: Strategy) -> float:
        return sum(measure_curve(strategy(table, 300, seed), at)[-1] for seed in range(3)) / 3

    assert mean_volume(OURS["ours: choosing alone"]) > mean_volume(ALL_POINTS["Optuna TPE, all points"])


def test_peers_with_all_points_are_charged_as_ours(table: Table) -> None:
    for name, strategy in ALL_POINTS.items():
        trace = strategy(table, 200, 3)
        assert len(trace.points) == trace.epochs / 14 * 5, name


@pytest.mark.parametrize("options", [["--budget", "10"], ["--seeds", "0"], ["--processes", "none"]])
def test_nonsense_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", *options])
    assert "expected" in capsys.readouterr().err


def test_volume_is_of_what_was_known_by_then() -> None:
    trace = Trace()
    for epochs, accuracy in ((10, 0.2), (10, 0.4), (5, 0.3)):
        trace.epochs += epochs
        trace.add(accuracy, 0.003)
    curve = measure_curve(trace, [9, 10, 20, 25])
    assert curve == pytest.approx([0, 0.2 - 1 / 24, 0.4 - 1 / 24, 0.4 - 1 / 24])  # the cost is a tenth of the reference
    assert find_epochs(curve, [9, 10, 20, 25], 0.3) == 20
    assert find_epochs(curve, [9, 10, 20, 25], 0.4) is None


def test_share_is_of_the_opponents_training() -> None:
    at = [20, 40, 60]
    curves = {
        "random": [[0.1, 0.2, 0.25], [0.1, 0.2, 0.25], [0.1, 0.1, 0.2]],
        "Optuna TPE": [[0.1, 0.2, 0.3], [0.1, 0.3, 0.3], [0.1, 0.2, 0.2]],
        "all": [[0.3, 0.3, 0.4], [0.2, 0.3, 0.4], [0.3, 0.3, 0.4]],
    }
    assert find_best(curves, ["random", "Optuna TPE"]) == "Optuna TPE"
    head, _, random_, tpe, ours = format_table(curves, at, ["random", "Optuna TPE"]).splitlines()
    assert head.startswith("| strategy | hypervolume after 60 epochs, quartiles of 3 seeds |")
    assert "| epochs to random's 0.2500 | share | epochs to Optuna TPE's 0.3000 | share |" in head
    assert random_ == "| random | 0.2500 (0.2000 to 0.2500) | 60 (60 to not reached) | 1.00 | not reached |  |"
    assert (
        tpe
        == "| Optuna TPE | 0.3000 (0.2000 to 0.3000) | 60 (40 to not reached) | 1.00 | 60 (40 to not reached) | 1.00 |"
    )
    assert ours == "| all | 0.4000 (0.4000 to 0.4000) | 20 (20 to 40) | 0.33 | 20 (20 to 40) | 0.33 |"


def test_known_design_is_tried_first(table: Table) -> None:
    known = table.find(KNOWN_DESIGN)
    assert Ours()(table, 20, 1).points[0] == (known.points[0].accuracy, known.points[0].inference_cost)
    first = PEERS["Optuna TPE, warm start"](table, 10, 1).points[0]
    assert first in {(point.accuracy, point.inference_cost) for point in known.points}
