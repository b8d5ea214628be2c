"""The benchmark of the reader at a small size; and what it measures: one copy of the frames, a file opened at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from storage.dataset.radioml import DatasetError, RadioMLFile, inspect_radioml
from storage.dataset.split import prescribed_split
from workers.benchmarks.per_item_reader import PerItemDataset
from workers.benchmarks.reading_speed import (
    count_code_bytes,
    main,
    measure_memory,
    measure_opening,
    measure_speed,
    write_full_layout,
)

MEBIBYTE = 2**20

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> RadioMLFile:
    """Noise of the full layout: 9 MiB of codes."""
    file = write_full_layout(tmp_path_factory.mktemp("noise") / "noise.hdf5", frames_per_cell=8)
    generator = np.random.default_rng(0)
    with h5py.File(file.path, "r+") as h5:
        h5["X"][...] = generator.standard_normal(h5["X"].shape, np.float32)
    return inspect_radioml(file.path)


@pytest.mark.slow
def test_two_processes_share_one_copy_of_the_frames(file: RadioMLFile) -> None:
    codes = count_code_bytes(file) / MEBIBYTE
    processes = measure_memory(file)
    assert codes == pytest.approx(624 * 7 * 2048 / MEBIBYTE)
    assert len(processes) == 2
    assert all(process.rss_growth > codes for process in processes), "each has all of it mapped"
    shared = sum(process.rss_growth - process.pss_growth for process in processes)
    assert shared > 0.95 * codes, "and half of it is the other's"


def test_per_item_way_reads_the_same_frames_as_the_file_has(file: RadioMLFile) -> None:
    dataset = PerItemDataset(file.path)
    frame, label, snr_db = dataset[1234]
    assert (len(dataset), frame.shape) == (file.n_frames, (2, 1024))
    assert (int(label), int(snr_db)) == (1234 // (26 * 8), 1234 // 8 % 26 * 2 - 20)


def test_all_ways_read_the_same_number_of_frames_and_batches_are_faster_than_items(file: RadioMLFile) -> None:
    n_threads = torch.get_num_threads()
    speed = measure_speed(file, 2000)
    torch.set_num_threads(n_threads)
    assert speed.n_frames == 2000
    assert speed.codes > speed.samples > speed.per_item > 0
    assert speed.blocks is not None
    assert speed.blocks > speed.per_item


def test_way_of_native_code_is_left_out_where_there_is_none_and_the_table_says_why(file: RadioMLFile) -> None:
    """In a process of its own: the library is looked for once in each."""
    command = [sys.executable, "-m", "workers.reader_benchmark", "--data", str(file.path), "--frames", "200"]
    environment = {**os.environ, "CXX": "/no/compiler", "XDG_CACHE_HOME": str(file.path.parent / "empty")}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    assert "int8 batches, as held" in ended.stdout
    assert "codes to float32 blocks" not in ended.stdout
    assert "there is no row for native code: " in ended.stdout


def test_opening_a_file_of_full_layout_reads_less_than_a_hundredth_of_it(tmp_path: Path) -> None:
    file = write_full_layout(tmp_path / "full.hdf5")
    assert (file.n_frames, file.frames_per_cell) == (2_555_904, 4096)
    size = file.path.stat().st_size
    assert size > 2_555_904 * 8192
    before = count_bytes_read()
    assert measure_opening(file.path) > 0
    n_read = count_bytes_read() - before
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1)
    file.path.unlink()
    assert 0 < n_read < size / 100
    assert len(split.test) == 255_840


@pytest.mark.slow
def test_command_prints_speeds_and_memory(file: RadioMLFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(file.path), "--frames", "1000"]) == 0
    printed = capsys.readouterr().out
    assert "one epoch of 1,000 frames, batches of 1024, one thread (CPU time)" in printed
    assert "2 processes hold the same 8.5 MiB of codes; MiB" in printed
    for row in (
        "per item: h5py and DataLoader",
        "float32 batches",
        "int8 batches, as held",
        "codes to float32 blocks, in C++",
        "sum",
    ):
        assert row in printed


def test_command_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "none.hdf5")]) == 2
    assert "none.hdf5 does not exist; expected a RadioML 2018.01A HDF5 file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--frames", "0"])
    assert "argument --frames: it is 0; expected a whole number from 1" in capsys.readouterr().err


def test_error_in_a_measured_process_is_raised_here(file: RadioMLFile) -> None:
    gone = RadioMLFile(file.path, file.class_names, file.snrs_db, file.frames_per_cell, 1024, file.n_frames, None)
    moved = file.path.rename(file.path.with_name("moved.hdf5"))
    try:
        with pytest.raises(DatasetError, match=r"noise.hdf5 does not exist"):
            measure_memory(gone)
    finally:
        moved.rename(file.path)


def count_bytes_read() -> int:
    """By this process, from files, pipes and sockets."""
    name, count = Path("/proc/self/io").read_text().splitlines()[0].split()
    assert name == "rchar:"
    return int(count)
