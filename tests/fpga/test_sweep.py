"""A sweep folds one network for several throughputs, and says which of them it does not reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fpga.sweep import SweepPoint, describe_best, describe_points, main, write_page
from fpga.toolchain.finn import Finn
from storage.builds import queue_build
from storage.database import Database, open_database
from storage.hardware_reports import Resources
from storage.records import BuildRequest, BuildTarget

SMALL, LARGE = Resources(lut=1000, bram_18k=2, uram=0, dsp=3), Resources(lut=40_000, bram_18k=20, uram=0, dsp=30)

POINTS = [
    SweepPoint(10_000, 11_000.0, 90.5, SMALL, SMALL, LARGE, "MVAU_rtl_0"),
    SweepPoint(500_000, 190_000.0, 9.5, SMALL, LARGE, None, "FMPadding_rtl_1"),
]


def test_table_has_both_totals_and_marks_what_is_not_reached() -> None:
    first, second = describe_points(POINTS).splitlines()[2:]

    assert "| 10,000 | 11,000 |" in first
    assert "2.5% LUT, 10.0% BRAM18, 10.0% DSP" in first
    assert "| 500,000 | 190,000 (**not reached**) | 10 | 1,000 | 40,000 |" in second
    assert describe_best(POINTS) == "1 of 2 targets reached, at most 190,000 frames/s"


def test_page_holds_all_curves_and_needs_no_network(tmp_path: Path) -> None:
    text = write_page(tmp_path / "sweep.html", POINTS, "a network").read_text()

    assert all(name in text for name in ("LUT, layers only", "LUT, with FIFOs and width converters", "DSP", "BRAM18"))
    assert 'src="http' not in text


def test_missing_network_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.onnx")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none.onnx does not exist; expected a QONNX file\n"


def test_trial_that_was_not_promoted_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    open_database(url)

    assert main(["dsc4", "3", "--storage", url]) == 2
    assert "trial 3 of dsc4 was not promoted; python -m search.promote" in capsys.readouterr().err


def test_stage_that_was_not_promoted_is_one_line(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = BuildTarget("ZCU111", 5.0, 100_000)
    request = BuildRequest("dsc4", 3, 2, "gone.onnx", "proof.npz", target, 60, False, None)
    queue_build(database, request)
    options = ["--storage", database.url, "--artifacts", str(tmp_path)]

    assert main(["dsc4", "3", "--stage", "1", *options]) == 2
    assert "trial 3 stage 1 of dsc4 was not promoted" in capsys.readouterr().err
    assert main(["dsc4", "3", "--stage", "2", *options]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/gone.onnx does not exist; expected a QONNX file\n"


def test_stage_of_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["network.onnx", "--stage", "1"])
    assert "--stage is 1; expected none with a file" in capsys.readouterr().err


@pytest.mark.slow
def test_broken_network_is_one_line(finn: Finn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not ONNX")

    assert main([str(tmp_path / "broken.onnx"), "--out", str(tmp_path)]) == 1
    assert "which is no readable ONNX file" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_more_frames_per_second_take_more_of_the_fpga(
    finn: Finn,
    export_network: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(export_network("residual") / "model.onnx")

    assert main([model, "--out", str(tmp_path), "--targets", "20000", "100000", "1000000"]) == 0

    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:5]]
    reached = [float(row[1].split()[0].replace(",", "")) for row in table]
    lut = [int(row[4].replace(",", "")) for row in table]
    assert reached == sorted(reached)
    assert lut == sorted(lut)
    assert lut[0] < lut[2]
    assert reached[1] >= 100_000
    assert "not reached" in table[2][1]
    assert (tmp_path / "sweep.html").is_file()

    assert main([model, "--out", str(tmp_path), "--targets", "50000"]) == 0

    (run,) = tmp_path.glob("*/finn.log")
    assert run.read_text().count("Running step: step_make_integer_graph ") == 1  # the second sweep only folded
    assert "| 50,000 |" in capsys.readouterr().out
