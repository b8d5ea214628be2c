"""Checks of the benchmark's shape; its figures are for people."""

from pathlib import Path

import pytest

from storage.twin.benchmark import main, measure_speed


def test_speed_counts_frames_seconds_and_memory(tmp_path: Path) -> None:
    speed = measure_speed("deepsig-2018", 1, 1, tmp_path)
    assert (speed.n_frames, speed.processes) == (624, 1)
    assert min(speed.wall_s, speed.cpu_s) > 0
    assert 20e6 < speed.peak_bytes < 8e9
    assert list(tmp_path.iterdir()) == []


def test_memory_of_the_processes_it_starts_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.twin.cell_writers.IN_PROCESS_SAMPLES", 0)
    alone, together = (measure_speed("deepsig-2018", 8, processes, tmp_path) for processes in (1, 3))
    assert together.peak_bytes > alone.peak_bytes + 30e6


def test_command_prints_one_row_per_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--profile", "deepsig-2018", "--profile", "rothe-9", "--frames-per-cell", "1"]
    assert main([*arguments, "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("frames/s", "peak MiB", "deepsig-2018", "rothe-9", "624"))


def test_request_that_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--frames-per-cell", "0"]) == 2
    assert capsys.readouterr().err == "frames per cell is 0; expected at least 1\n"
    assert main(["--processes", "0"]) == 2
    assert capsys.readouterr().err == "processes is 0; expected at least 1\n"
    assert main(["--folder", str(tmp_path / "missing")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
