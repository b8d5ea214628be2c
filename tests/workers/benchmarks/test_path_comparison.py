"""Seeds through two training paths, compared."""

import math
from pathlib import Path

import pytest

from workers.benchmarks.path_comparison import Comparison, describe, main
from workers.training_path import PathName


def test_standard_error_is_that_of_the_difference_of_two_means() -> None:
    comparison = Comparison(first=(0.50, 0.52, 0.54), second=(0.51, 0.51, 0.57))
    assert comparison.difference == pytest.approx(0.01)
    assert comparison.standard_error == pytest.approx(math.sqrt(0.0004 / 3 + 0.0012 / 3))
    text = describe([PathName.BREVITAS, PathName.NATIVE], comparison)
    assert "brevitas: mean 52.00%, standard deviation 2.00%, n = 3" in text
    assert "difference +1.00%, standard error 2.31%" in text


@pytest.mark.slow
def test_command_trains_each_seed_through_both_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["--network", "dsc4, small", "--seeds", "2", "--epochs", "1", "--frames-per-cell", "8"]
    assert main([*arguments, "--paths", "channels-last", "native"]) == 0
    out = capsys.readouterr().out
    assert [f"seed {seed}, {path}:" in out for seed in (0, 1) for path in ("channels-last", "native")] == [True] * 4
    assert "difference" in out


def test_one_seed_is_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--seeds", "1"])
    assert "expected at least 2 seeds" in capsys.readouterr().err
