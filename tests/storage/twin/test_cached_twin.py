"""Checks of the twin in the cache folder: made once, whoever asks for it."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.twin.cached_twin import ensure_twin
from storage.twin.file import GENERATOR_VERSION, partial_path, record_path

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_same_seed_gives_the_same_frames_whatever_the_size(tmp_path: Path) -> None:
    with h5py.File(ensure_twin(1, seed=7, folder=tmp_path)) as h5:
        one = h5["X"][...]
    with h5py.File(ensure_twin(2, seed=7, folder=tmp_path)) as h5:
        two = h5["X"][...]
    with h5py.File(ensure_twin(1, seed=8, folder=tmp_path)) as h5:
        other = h5["X"][...]
    np.testing.assert_array_equal(one, two[::2])
    assert not np.any(np.all(one == other, axis=(1, 2)))


def test_twin_is_named_by_profile_seed_size_and_version_in_the_users_cache_folder(tmp_path: Path) -> None:
    path = ensure_twin(1, seed=7)
    name = f"radioml-twin-deepsig-2018-s7-f1-v{GENERATOR_VERSION}.hdf5"
    assert path == tmp_path / "cache" / "fpga-modulation-search" / name


def test_twin_is_made_once_with_progress(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    first = ensure_twin(1, seed=7, folder=tmp_path, on_progress=lambda done, total: reports.append((done, total)))
    written = first.stat().st_mtime_ns
    second = ensure_twin(1, seed=7, folder=tmp_path, on_progress=lambda done, total: reports.append((done, total)))
    assert reports == [(cell + 1, 624) for cell in range(624)]
    assert (second, second.stat().st_mtime_ns) == (first, written)


def test_two_processes_make_one_twin(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from storage.twin.cached_twin import ensure_twin; made = []; "
        "print(ensure_twin(2, 7, folder=Path(sys.argv[1]), on_progress=lambda *done: made.append(done)), len(made))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(2)]
    answers = sorted(maker.communicate(timeout=120)[0].split() for maker in makers)
    assert [made for _, made in answers] == ["0", "624"]
    assert inspect_radioml(Path(answers[0][0])).frames_per_cell == 2


def test_interrupted_maker_leaves_no_twin_and_the_next_one_goes_on_from_its_cells(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_twin(1, seed=7, folder=tmp_path, on_progress=interrupt)
    path = tmp_path / f"radioml-twin-deepsig-2018-s7-f1-v{GENERATOR_VERSION}.hdf5"
    assert not path.exists()
    reports: list[int] = []
    assert ensure_twin(1, seed=7, folder=tmp_path, on_progress=lambda done, _: reports.append(done)) == path
    assert reports == list(range(401, 625))
    assert path.read_bytes() == ensure_twin(1, seed=7, folder=tmp_path / "unbroken").read_bytes()
    assert sorted(tmp_path.glob("*.hdf5*")) == [path, path.with_name(f"{path.name}.lock")]


def test_what_a_killed_maker_left_stays_for_the_next_that_wants_the_same(tmp_path: Path) -> None:
    killed = _begin_twin(tmp_path, seed=1)
    killed.kill()
    killed.wait(timeout=60)
    ensure_twin(1, seed=3, folder=tmp_path)
    path = _twin_path(tmp_path, seed=1)
    assert [partial_path(path).exists(), record_path(path).exists()] == [True, True]


def test_what_killed_makers_of_another_version_left_is_removed_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    killed, living = _begin_twin(tmp_path, seed=1), _begin_twin(tmp_path, seed=2)
    killed.kill()
    killed.wait(timeout=60)
    unfinished = []
    for path in (_twin_path(tmp_path, seed=1), _twin_path(tmp_path, seed=2)):
        older = path.with_name(path.name.replace(f"-v{GENERATOR_VERSION}.", "-v0."))
        for name in (partial_path, record_path, _lock_path):
            name(path).rename(name(older))
        unfinished += [partial_path(older), record_path(older)]
    ensure_twin(1, seed=3, folder=tmp_path)
    assert living.poll() is None
    assert [path.exists() for path in unfinished] == [False, False, True, True]
    living.kill()
    living.wait(timeout=60)


def _twin_path(folder: Path, seed: int) -> Path:
    return folder / f"radioml-twin-deepsig-2018-s{seed}-f32-v{GENERATOR_VERSION}.hdf5"


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _begin_twin(folder: Path, seed: int) -> subprocess.Popen[str]:
    """A process that has begun a twin and does not go on with it."""
    code = (
        "import sys; from pathlib import Path; from storage.twin.cached_twin import ensure_twin; "
        "ensure_twin(32, int(sys.argv[2]), folder=Path(sys.argv[1]), "
        "on_progress=lambda *_: (print('begun', flush=True), sys.stdin.read()))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DatasetError, match=r"twin of the data set cannot be made in .*/file/cache: Not a directory; exp"
    ):
        ensure_twin(1, seed=7, folder=tmp_path / "file" / "cache")
