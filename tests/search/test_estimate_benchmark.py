"""The benchmark of estimates beside training: its line, and that it never tells of estimates that were not made."""

import pytest

from search.estimate_benchmark import Slowdown, describe_slowdown, main


def test_line_has_both_speeds_their_ratio_and_the_estimates() -> None:
    line = describe_slowdown(Slowdown(4000.0, 3900.0, 12), "BacalhauNet w6a6")
    assert line == (
        "two trials of BacalhauNet w6a6: 4,000 frames/s alone, 3,900 beside estimates (97.5%), "
        "12 of which were made meanwhile"
    )


@pytest.mark.slow
def test_turns_too_short_for_an_estimate_are_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--network", "dsc4, small", "--rounds", "1", "--seconds", "0.2"]) == 1
    printed = capsys.readouterr()
    assert "no estimate was made in 0.2 s" in printed.err
    assert printed.out == ""
