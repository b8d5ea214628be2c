"""The training benchmark at a small size."""

import json

import pytest

from workers.benchmarks.training_speed import WAYS, main


@pytest.mark.slow
def test_all_ways_train_and_the_native_one_is_fastest(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--networks", "dsc4, small", "--batch-sizes", "64", "--rounds", "1", "--seconds", "1", "--json"]
    assert main(arguments) == 0
    speeds = {speed["way"]: speed for speed in json.loads(capsys.readouterr().out)}
    assert tuple(speeds) == WAYS
    assert speeds["reference"]["ratio"] == 1.0
    assert speeds["native"]["frames_per_cpu_second"] > speeds["reference"]["frames_per_cpu_second"]
    assert all(0 < speed["multiply_share"] < 1 for speed in speeds.values())


def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--rounds", "0"])
    assert "must be positive" in capsys.readouterr().err
