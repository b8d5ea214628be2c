"""What the benchmark of a GPU runs, on a CPU and small: no speed is checked, but every way trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, GlobalPool, InputQuantizer, Linear
from workers.benchmarks.gpu_speed import main, make_table
from workers.benchmarks.gpu_ways import (
    GpuSpeed,
    Launching,
    Way,
    Workload,
    draw_frames,
    measure_reference,
    measure_runs,
    profile_steps,
)

CPU = torch.device("cpu")

SMALL = ArchitectureConfig(
    blocks=(
        InputQuantizer(clip=3.0),
        Conv(out_channels=2, kernel_size=5, stride=16, weight_bit_width=4, activation_bit_width=4),
        GlobalPool(),
        Linear(out_features=24, weight_bit_width=4),
    )
)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "finds no GPU; expected one to measure" in capsys.readouterr().err


@pytest.mark.parametrize("launching", Launching)
@pytest.mark.parametrize("way", [Way.BREVITAS, Way.EAGER, Way.CAPTURED])
def test_every_way_trains_whole_epochs(way: Way, launching: Launching) -> None:
    speed = measure_runs(Workload(SMALL, draw_frames(50, CPU), 16), way, 2, launching, seconds=0.01)
    assert (speed.way, speed.n_trials, speed.launching) == (way, 2, launching)
    assert speed.is_whole_epoch
    assert speed.frames_per_second is not None
    assert speed.epoch_seconds is not None
    assert speed.epoch_seconds > 0


def test_the_challenge_s_way_trains(twin_path: Path) -> None:
    speed = measure_reference(Workload(SMALL, draw_frames(1000, CPU), 64), twin_path, seconds=0.01)
    assert speed.frames_per_second is not None
    assert speed.epoch_seconds == pytest.approx(1000 / speed.frames_per_second)
    assert not speed.is_whole_epoch


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_the_profile_names_what_took_time() -> None:
    assert "aten::" in profile_steps(Workload(SMALL, draw_frames(500, CPU), 16), Way.EAGER)


def test_the_table_tells_calculated_epochs_from_measured_ones() -> None:
    console = Console(width=100, record=True)
    speeds = [
        GpuSpeed(Way.REFERENCE, 1, Launching.TURNS, 100.0, 16800.0, is_whole_epoch=False),
        GpuSpeed(Way.CAPTURED, 2, Launching.THREADS, 2000.0, 12.5, is_whole_epoch=True),
        GpuSpeed(Way.CAPTURED, 8, Launching.THREADS, None, None, is_whole_epoch=False),
    ]
    console.print(make_table("a device", speeds))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    assert ["reference", "1", "in turns", "100", "~16,800.0", "1.0"] in rows
    assert ["captured", "2", "threads", "2,000", "12.5", "20.0"] in rows
    assert ["captured", "8", "threads", "out of memory", "", ""] in rows
