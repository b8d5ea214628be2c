"""Frames of each part, from whichever store, with their samples, labels and SNRs."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from spaces.blocks import FEATURE_CHANNELS, Features, InputQuantizer
from storage.dataset.features import compute_features
from storage.dataset.frame_cache import MAX_CACHES, cache_folders
from storage.dataset.frames import (
    Frames,
    load_test_frames,
    load_training_frames,
    load_validation_frames,
    load_validation_sample,
    prepare_frames,
)
from storage.dataset.input_codes import encode, quantizer_scale
from storage.dataset.radioml import DatasetError, RadioMLFile, inspect_radioml
from storage.dataset.split import Split, prescribed_split
from tests.storage.layout_files import SNRS_DB, indices_of, replace, write_file
from workers.gpu.device_frames import frames_on_device

REPOSITORY = Path(__file__).parents[3]
QUANTIZER = InputQuantizer(bit_width=6, clip=2.0)


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "radioml.hdf5")


@pytest.fixture
def noise_path(path: Path) -> Path:
    """The same layout, with noise that reaches beyond the quantizer's clip."""
    generator = np.random.default_rng(0)
    replace(path, "X", lambda x: generator.normal(0, 1.5, x.shape).astype(np.float32))
    return path


def split_of(file: RadioMLFile, frames_limit: int | None = None) -> Split:
    return prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, frames_limit)


def samples_of(path: Path, rows: np.ndarray) -> np.ndarray:
    with h5py.File(path) as h5:
        samples: np.ndarray = h5["X"][...][np.sort(rows)].transpose(0, 2, 1).astype(np.float32)
    return samples


def test_frames_carry_their_samples_labels_and_snrs(path: Path) -> None:
    file = inspect_radioml(path)
    frames = load_validation_frames(file, split_of(file), None)
    iq = frames.gather(slice(None))
    index = iq[:, 0, 0].astype(np.int64)
    assert (iq.shape, iq.dtype.name, iq.flags["C_CONTIGUOUS"]) == ((624, 2, 2), "float32", True)
    np.testing.assert_array_equal(iq[:, 1, 0], -1 - index)
    np.testing.assert_array_equal(frames.labels, index // (26 * 8))
    np.testing.assert_array_equal(frames.snr_db, index // 8 % 26 * 2 - 20)
    assert (frames.labels.dtype.name, frames.snr_db.dtype.name) == ("int64", "int64")


@pytest.mark.parametrize(("frames_per_cell", "frames_limit"), [(1000, 5), (1000, None), (300, 3)])
def test_large_cells_are_read_right(tmp_path: Path, frames_per_cell: int, frames_limit: int | None) -> None:
    path = write_file(tmp_path / "large.hdf5", frames_per_cell, frame_length=1)
    replace(path, "X", lambda x: x.astype(np.float64))  # which is not mapped, but read
    file = inspect_radioml(path)
    split = split_of(file, frames_limit)
    np.testing.assert_array_equal(indices_of(load_training_frames(file, split, -20, None)), np.sort(split.train))
    np.testing.assert_array_equal(indices_of(load_test_frames(file, split)), np.sort(split.test))


@pytest.mark.parametrize("quantizer", [None, QUANTIZER])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"dtype": "float64"}])
def test_every_kind_of_file_gives_the_same_frames(
    noise_path: Path, quantizer: InputQuantizer | None, options: dict[str, str]
) -> None:
    with h5py.File(noise_path, "r+") as h5:
        samples = h5["X"][...]
        del h5["X"]
        h5.create_dataset("X", data=samples, **options)
    file = inspect_radioml(noise_path)
    split = split_of(file)
    frames = load_validation_frames(file, split, quantizer)
    expected = samples_of(noise_path, split.validation)
    if quantizer is not None:
        expected = encode(expected, quantizer) * quantizer_scale(quantizer)
    np.testing.assert_array_equal(frames.gather(slice(None)), expected)
    assert frames.gather_stored(slice(None)).dtype == (np.float32 if quantizer is None else np.int8)
    np.testing.assert_array_equal(load_test_frames(file, split).gather(slice(None)), samples_of(noise_path, split.test))


@pytest.mark.parametrize("quantizer", [None, QUANTIZER])
def test_batches_are_gathered_by_index(noise_path: Path, quantizer: InputQuantizer | None) -> None:
    file = inspect_radioml(noise_path)
    frames = load_training_frames(file, split_of(file), 0, quantizer)
    whole = frames.gather(slice(None))
    order = np.random.default_rng(1).permutation(len(frames))[:100]
    np.testing.assert_array_equal(frames.gather(order), whole[order])
    np.testing.assert_array_equal(frames.gather(slice(7, 50)), whole[7:50])
    few = frames.select(order)
    assert (len(frames), len(few)) == (24 * 16 * 6, 100)
    np.testing.assert_array_equal(few.gather(slice(None)), whole[order])
    np.testing.assert_array_equal(few.labels, frames.labels[order])
    np.testing.assert_array_equal(few.snr_db, frames.snr_db[order])


@pytest.mark.parametrize("features", ["magnitude_phase", "phase_difference", "power"])
def test_codes_of_features_are_those_of_the_features_of_samples(noise_path: Path, features: Features) -> None:
    quantizer = InputQuantizer(bit_width=6, clip=2.0, features=features)
    file = inspect_radioml(noise_path)
    split = split_of(file)
    expected = compute_features(samples_of(noise_path, split.validation), features)
    frames = load_validation_frames(file, split, quantizer)
    codes = encode(expected, quantizer)
    np.testing.assert_array_equal(frames.gather_stored(slice(None)), codes)
    assert codes.shape[1] == FEATURE_CHANNELS[features]
    load_validation_frames(file, split, QUANTIZER)
    assert len([*cache_folders(file)[0].glob("*.npy")]) == 2, "each has a file of its own"
    test_frames = load_test_frames(file, split, features)
    np.testing.assert_array_equal(
        test_frames.select(np.arange(3)).gather(slice(None)),
        compute_features(samples_of(noise_path, split.test[:3]), features),
    )
    sample = load_validation_sample(file, split, 24, features)
    assert sample.gather(slice(None)).shape == (24, FEATURE_CHANNELS[features], 2)


def test_features_without_room_for_codes_are_computed_of_samples(
    noise_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.dataset.frame_cache.MAX_CACHES", 0)
    file = inspect_radioml(noise_path)
    split = split_of(file)
    frames = load_validation_frames(file, split, InputQuantizer(features="power"))
    expected = compute_features(samples_of(noise_path, split.validation), "power")
    np.testing.assert_array_equal(frames.gather(slice(None)), expected)
    np.testing.assert_array_equal(frames.select(np.arange(3)).gather(slice(None)), expected[:3])
    on_device, _ = frames_on_device(frames, torch.device("cpu")).gather(torch.arange(5))
    np.testing.assert_array_equal(on_device.numpy(), expected[:5])


def test_frames_in_memory_need_no_positions() -> None:
    samples = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    frames = Frames(samples, np.arange(3), np.arange(3))
    np.testing.assert_array_equal(frames.gather(np.array([2, 0])), samples[[2, 0]])
    np.testing.assert_array_equal(frames.gather(slice(1, 9)), samples[1:])
    np.testing.assert_array_equal(frames.select(np.array([1])).gather(slice(None)), samples[[1]])


def test_codes_of_training_and_validation_lie_in_one_file_without_the_test_part(noise_path: Path) -> None:
    file = inspect_radioml(noise_path)
    split = split_of(file)
    prepare_frames(file, split, QUANTIZER)
    (cache,) = cache_folders(file)[0].glob("*.npy")
    training = load_training_frames(file, split, -6, QUANTIZER)
    validation = load_validation_frames(file, split, QUANTIZER)
    assert list(cache_folders(file)[0].glob("*.npy")) == [cache]
    kept = np.sort(np.concatenate([split.train, split.validation]))
    np.testing.assert_array_equal(np.load(cache), encode(samples_of(noise_path, kept), QUANTIZER))
    assert training.stored.shape == validation.stored.shape == (24 * 26 * 7, 2, 2)


def test_sub_samples_have_stores_of_their_own(noise_path: Path) -> None:
    file = inspect_radioml(noise_path)
    split = split_of(file, frames_limit=3)
    frames = load_training_frames(file, split, -20, QUANTIZER)
    assert frames.stored.shape == (24 * 26 * 2, 2, 2)
    expected = encode(samples_of(noise_path, split.train), QUANTIZER) * quantizer_scale(QUANTIZER)
    np.testing.assert_array_equal(frames.gather(slice(None)), expected)


def test_quantizer_without_exact_codes_is_given_samples(noise_path: Path) -> None:
    file = inspect_radioml(noise_path)
    frames = load_validation_frames(file, split_of(file), InputQuantizer(clip=1e-37))
    np.testing.assert_array_equal(frames.gather(slice(None)), samples_of(noise_path, split_of(file).validation))
    assert frames.scale is None


def test_where_codes_cannot_be_kept_samples_are_mapped_and_the_log_says_so(
    noise_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = inspect_radioml(noise_path)
    for folder in cache_folders(file):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.touch()  # a file where the folder should be
    with caplog.at_level(logging.WARNING):
        frames = load_validation_frames(file, split_of(file), QUANTIZER)
    assert frames.scale is None
    np.testing.assert_array_equal(frames.gather(slice(None)), samples_of(noise_path, split_of(file).validation))
    assert "cannot be kept in" in caplog.text
    assert "samples are used, four times the memory" in caplog.text


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"dtype": "float64"}, {"dtype": ">f4"}])
def test_more_quantizers_than_code_files_are_given_samples_of_a_file_of_their_own(
    noise_path: Path, options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with h5py.File(noise_path, "r+") as h5:
        samples = h5["X"][...]
        del h5["X"]
        h5.create_dataset("X", data=samples, **options)
    file = inspect_radioml(noise_path)
    split = split_of(file)
    parts = [load_validation_frames(file, split, InputQuantizer(clip=1.0 + n)) for n in range(MAX_CACHES + 2)]
    assert [part.scale is None for part in parts] == [*[False] * MAX_CACHES, True, True]
    for part in parts[MAX_CACHES:]:
        np.testing.assert_array_equal(part.gather(slice(None)), samples_of(noise_path, split.validation))
    names = [path.name for path in cache_folders(file)[0].glob("*.npy")]
    assert sum("codes" in name for name in names) == MAX_CACHES
    assert sum("samples" in name for name in names) == 1
    assert f"holds the same frames for {MAX_CACHES} input quantizers" in caplog.text
    assert "samples are used, four times the memory" in caplog.text


def test_snr_filter_affects_training_only(path: Path) -> None:
    file = inspect_radioml(path)
    split = split_of(file)
    every_snr = set(SNRS_DB)
    assert set(load_training_frames(file, split, -6, None).snr_db) == {snr for snr in every_snr if snr >= -6}
    assert set(load_validation_frames(file, split, None).snr_db) == every_snr
    assert set(load_test_frames(file, split).snr_db) == every_snr


def test_snr_filter_that_leaves_nothing_is_refused(path: Path) -> None:
    file = inspect_radioml(path)
    with pytest.raises(DatasetError, match=r"min_training_snr_db is 31; expected at most 30"):
        load_training_frames(file, split_of(file), 31, None)


def test_sample_of_validation_is_spread_over_classes_and_snrs(path: Path) -> None:
    file = inspect_radioml(path)
    chosen = load_validation_sample(file, split_of(file), 100)
    assert len(chosen) == 100
    assert set(chosen.labels) == set(range(24))
    assert len(set(chosen.snr_db)) == 26
    assert set(indices_of(chosen)) <= set(split_of(file).validation)


def test_fewer_frames_than_asked_are_all_taken(path: Path) -> None:
    file = inspect_radioml(path)
    assert len(load_validation_sample(file, split_of(file), 1000)) == 624


def test_only_load_test_frames_reads_the_test_part() -> None:
    packages = ("spaces", "storage", "workers", "search", "fpga", "dashboards")
    files = [path for package in packages for path in sorted((REPOSITORY / package).rglob("*.py"))]
    assert len(files) > 20
    readers = [(path.relative_to(REPOSITORY).as_posix(), name) for path in files for name in _readers_of_test(path)]
    assert readers == [("storage/dataset/frames.py", "load_test_frames")]


def _readers_of_test(path: Path) -> list[str]:
    """Top-level statements that use an attribute called `test`: the split is the only thing that has one."""
    return [
        getattr(statement, "name", ast.unparse(statement))
        for statement in ast.parse(path.read_text()).body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and node.attr == "test"
    ]
