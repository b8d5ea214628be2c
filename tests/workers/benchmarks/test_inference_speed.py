"""Rothe's networks are timed as his rows name them."""

from __future__ import annotations

import json

import pytest

from workers.benchmarks.inference_speed import main, measure_speeds, name_variant, read_unpruned


def test_each_row_has_a_network_of_the_study() -> None:
    rows = read_unpruned()
    assert len(rows) == 27
    assert {name_variant(row) for row in rows} == {
        *("5f_5c_4mp", "5f_4c_4mp", "5f_3c_3mp", "3f_3c_3mp", "3f_2c_2mp", "2f_2c_2mp", "2f_1c_1mp")
    }
    smallest = [row for row in rows if name_variant(row) == "2f_1c_1mp"]
    speeds = measure_speeds(smallest, 1)
    assert [speed.bits for speed in speeds] == [32, 8, 6]
    assert all(speed.ms > 0 for speed in speeds)
    assert speeds[0].published_ms == pytest.approx(0.52625555)
    assert speeds[0].frames_per_s == pytest.approx(32_000 / speeds[0].ms)


@pytest.mark.slow
def test_command_prints_published_times_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "5f_5c_4mp" in shown
    assert "32 bits: rank correlation of the times" in shown
    assert main(["--rounds", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 27
