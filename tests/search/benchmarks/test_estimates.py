"""The benchmark of estimates beside training: its line, and a real turn of each kind."""

import re

import pytest

from search.benchmarks.estimates import Slowdown, describe_slowdown, main


def test_line_has_both_speeds_their_ratio_and_the_estimates() -> None:
    line = describe_slowdown(Slowdown(4000.0, 3900.0, 12, 2), "BacalhauNet w6a6")
    assert line == (
        "two trials of BacalhauNet w6a6: 4,000 frames/s alone, 3,900 beside estimates (97.5%), "
        "of which 12 were finished and 2 or more in work"
    )


@pytest.mark.slow
def test_estimates_are_at_work_beside_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--network", "dsc4, small", "--rounds", "1", "--seconds", "2"]) == 0
    assert re.search(r"and [12] or more in work$", capsys.readouterr().out.strip())
