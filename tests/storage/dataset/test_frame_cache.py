"""The cache file: made once, whole or not at all, where it can be written, and made again when it is spoilt."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from spaces.blocks import InputQuantizer
from storage.dataset.frame_cache import MAX_CACHES, CacheError, cache_folders, open_cache
from storage.dataset.input_codes import encode
from storage.dataset.radioml import DatasetError, RadioMLFile, inspect_radioml
from tests.conftest import RunAtOnce
from tests.storage.layout_files import N_FRAMES, replace, write_file
from tests.storage.unprivileged import run_as_nobody

QUANTIZER = InputQuantizer()
ROWS = np.arange(0, N_FRAMES, 2)


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> RadioMLFile:
    return inspect_radioml(write_noise(tmp_path / "radioml.hdf5"))


def write_noise(path: Path) -> Path:
    generator = np.random.default_rng(0)
    replace(write_file(path, frame_length=16), "X", lambda x: generator.normal(0, 1.5, x.shape).astype(np.float32))
    return path


def codes_of(file: RadioMLFile, quantizer: InputQuantizer = QUANTIZER) -> np.ndarray:
    with h5py.File(file.path) as h5:
        return encode(h5["X"][...][ROWS].transpose(0, 2, 1), quantizer)


def cache_files(file: RadioMLFile) -> list[Path]:
    return [path for folder in cache_folders(file) for path in sorted(folder.glob("*.npy"))]


def count_made(file: RadioMLFile) -> tuple[np.ndarray, int]:
    """What a process gets, and how many reports of progress it heard: none where another made the cache."""
    reports: list[int] = []
    codes = open_cache(file, ROWS, QUANTIZER, on_progress=lambda done, _: reports.append(done))
    return codes, len(reports)


def test_cache_is_made_once_beside_the_data_file(file: RadioMLFile) -> None:
    reports: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reports.append((done, total))

    first = open_cache(file, ROWS, QUANTIZER, report)
    again = open_cache(file, ROWS, QUANTIZER, report)
    np.testing.assert_array_equal(first, codes_of(file))
    np.testing.assert_array_equal(again, first)
    assert not first.flags.writeable
    assert reports == [(2048, 2496), (2496, 2496)], "slabs of 4096 rows of the file, once"
    assert [path.parent.name for path in cache_files(file)] == ["radioml.hdf5.frames"]
    assert "-codes-8bit-clip3.0-" in cache_files(file)[0].name


def test_samples_are_cached_as_they_are(file: RadioMLFile) -> None:
    with h5py.File(file.path) as h5:
        expected = h5["X"][...][ROWS].transpose(0, 2, 1)
    np.testing.assert_array_equal(open_cache(file, ROWS, None), expected)


def test_every_quantizer_and_every_choice_of_frames_has_its_own(file: RadioMLFile) -> None:
    six_bit = InputQuantizer(bit_width=6)
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))
    np.testing.assert_array_equal(open_cache(file, ROWS, six_bit), codes_of(file, six_bit))
    np.testing.assert_array_equal(open_cache(file, ROWS[:10], QUANTIZER), codes_of(file)[:10])
    assert len(cache_files(file)) == 3


def test_file_that_changed_is_read_again_and_what_was_kept_of_it_is_removed(file: RadioMLFile) -> None:
    before = codes_of(file)
    mapped = open_cache(file, ROWS, QUANTIZER)
    open_cache(file, ROWS[:10], None)
    with h5py.File(file.path, "r+") as h5:
        h5["X"][2:4] = 1.0  # none of the frames that tell one data set from another
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))
    assert len(cache_files(file)) == 1
    np.testing.assert_array_equal(mapped, before, "what a process has mapped stays as it was")


def test_file_that_changed_within_its_size_and_time_is_read_again(file: RadioMLFile) -> None:
    open_cache(file, ROWS, QUANTIZER)
    state = file.path.stat()
    with h5py.File(file.path, "r+") as h5:
        h5["X"][2:4] = 1.0
    os.utime(file.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))


def test_caches_of_another_data_file_stay_where_both_lie_in_the_users_cache_folder(
    file: RadioMLFile, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = inspect_radioml(write_noise(tmp_path / "other" / "radioml.hdf5"))
    for each in (file, other):
        cache_folders(each)[0].touch()  # a file where the folder should be
        open_cache(each, ROWS, QUANTIZER)
    with h5py.File(other.path, "r+") as h5:
        h5["X"][2:4] = 1.0
    open_cache(other, ROWS, QUANTIZER)
    assert [len(list(cache_folders(each)[1].glob("*.npy"))) for each in (file, other)] == [1, 1]


@pytest.mark.parametrize("n_bytes", [0, 5, 1000, -1])
def test_truncated_cache_is_made_again(file: RadioMLFile, n_bytes: int) -> None:
    open_cache(file, ROWS, QUANTIZER)
    (path,) = cache_files(file)
    os.truncate(path, n_bytes if n_bytes >= 0 else path.stat().st_size - 1)
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))
    assert cache_files(file) == [path]


def test_another_file_at_its_place_is_replaced(file: RadioMLFile) -> None:
    open_cache(file, ROWS, QUANTIZER)
    (path,) = cache_files(file)
    with path.open("wb") as archive:
        np.savez(archive, frames=np.zeros(3))  # a zip
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))
    assert cache_files(file) == [path]


@pytest.mark.slow
def test_of_many_processes_one_makes_it_and_all_read_it(file: RadioMLFile, run_at_once: RunAtOnce) -> None:
    answers = run_at_once(count_made, file)
    assert sorted(n_reports for _, n_reports in answers) == [0, 0, 0, 0, 0, 0, 0, 2]
    for codes, _ in answers:
        np.testing.assert_array_equal(codes, codes_of(file))
    assert len(cache_files(file)) == 1


def test_killed_maker_leaves_nothing_that_is_read_and_the_next_cleans_up(file: RadioMLFile) -> None:
    context = multiprocessing.get_context("fork")
    maker = context.Process(target=_make_until_killed, args=(file,))
    maker.start()
    maker.join(timeout=60)
    assert maker.exitcode == -signal.SIGKILL
    folder = cache_folders(file)[0]
    assert [path.name[:12] for path in folder.iterdir() if path.name != ".lock"] == [".unfinished-"]
    np.testing.assert_array_equal(open_cache(file, ROWS, QUANTIZER), codes_of(file))
    assert sorted(folder.iterdir()) == [folder / ".lock", *cache_files(file)]


def _make_until_killed(file: RadioMLFile) -> None:
    open_cache(file, ROWS, QUANTIZER, on_progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))


def test_interrupted_maker_leaves_nothing(file: RadioMLFile) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(file, ROWS, QUANTIZER, on_progress=interrupt)
    assert [path.name for path in cache_folders(file)[0].iterdir()] == [".lock"]


def test_disk_that_is_full_is_told_and_no_part_is_left(file: RadioMLFile) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CacheError, match=r"cannot be kept in .*radioml.hdf5.frames or .*: File too large"):
            open_cache(file, ROWS, QUANTIZER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in cache_folders(file)[0].iterdir()] == [".lock"]


def test_cache_that_would_fill_the_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = write_file(tmp_path / "huge.hdf5")
    with h5py.File(path, "r+") as h5:
        del h5["X"]
        h5.create_dataset("X", (N_FRAMES, 2**20, 2), np.float32)  # never written: takes no place
    rows = np.repeat(np.arange(N_FRAMES), 1000)  # 9.5 TiB of codes
    with pytest.raises(CacheError, match=r"free space in .*huge.hdf5.frames is [\d.]+ GiB; expected 19500.0 GiB"):
        open_cache(inspect_radioml(path), rows, QUANTIZER)
    assert [path.name for path in cache_folders(inspect_radioml(path))[0].iterdir()] == [".lock"]


def test_no_more_caches_of_the_same_frames_than_quantizers_have_bit_widths(file: RadioMLFile) -> None:
    for n in range(MAX_CACHES):
        open_cache(file, ROWS, InputQuantizer(clip=1.0 + n))
    with pytest.raises(CacheError, match=f"for {MAX_CACHES} input quantizers; expected fewer than {MAX_CACHES}"):
        open_cache(file, ROWS, InputQuantizer(clip=20.0))
    assert len(cache_files(file)) == MAX_CACHES
    open_cache(file, ROWS, None)  # samples do not count
    first = InputQuantizer(clip=1.0)
    np.testing.assert_array_equal(open_cache(file, ROWS, first), codes_of(file, first))


# ---- folders that cannot be written, as a user who may not


@pytest.fixture
def public_file(public_folder: Path) -> Path:
    """A data file in a folder that every user reaches and only its owner writes; beside it, a home for anyone."""
    path = write_noise(public_folder / "radioml.hdf5")
    path.chmod(0o644)
    (public_folder / "home").mkdir()
    (public_folder / "home").chmod(0o777)
    return path


def test_codes_lie_in_the_users_cache_folder_where_the_data_files_folder_cannot_be_written(
    public_folder: Path, public_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(public_folder / "home"))
    file = inspect_radioml(public_file)
    public_folder.chmod(0o555)
    assert run_as_nobody(open_and_name, file) == ["ok", "True"]
    (path,) = cache_files(file)
    assert path.parents[1] == public_folder / "home/fpga-modulation-search/frames"


def test_codes_that_another_user_made_are_read_where_nothing_can_be_written(
    public_folder: Path, public_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(public_folder / "nowhere"))
    file = inspect_radioml(public_file)
    open_cache(file, ROWS, QUANTIZER)
    public_folder.chmod(0o555)
    assert run_as_nobody(open_and_name, file) == ["ok", "True"]
    assert [path.parent.name for path in cache_files(file)] == ["radioml.hdf5.frames"]


def test_no_folder_that_can_be_written_is_told(
    public_folder: Path, public_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(public_folder / "nowhere"))
    file = inspect_radioml(public_file)
    public_folder.chmod(0o555)
    kind, message = run_as_nobody(open_and_name, file)
    assert kind == "CacheError"
    assert message.endswith(
        f"{cache_folders(file)[1]}: Permission denied; "
        "expected a folder that can be written, with room (XDG_CACHE_HOME names another)"
    )


def open_and_name(file: RadioMLFile) -> list[str]:
    try:
        return ["ok", str(bool((open_cache(file, ROWS, QUANTIZER) == codes_of(file)).all()))]
    except DatasetError as error:
        return [type(error).__name__, str(error)]
