"""Checks of the synthetic twin: its layout, its seed, and that it appears whole or not at all."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.frame_check import check_frames
from storage.modulations import CLASS_NAMES
from storage.radioml import DatasetError, inspect_radioml
from storage.radioml_twin import GENERATOR_VERSION, ensure_twin, main, write_twin

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_twin_has_the_layout_and_types_of_the_genuine_file(tmp_path: Path) -> None:
    path = ensure_twin(3, seed=7, folder=tmp_path)
    with h5py.File(path) as h5:
        assert (h5["X"].shape, h5["X"].dtype) == ((24 * 26 * 3, 1024, 2), np.float32)
        assert (h5["Y"].shape, h5["Y"].dtype) == ((24 * 26 * 3, 24), np.int64)
        assert (h5["Z"].shape, h5["Z"].dtype) == ((24 * 26 * 3, 1), np.int64)
    file = inspect_radioml(path)
    assert (file.frames_per_cell, file.frame_length, file.profile) == (3, 1024, "deepsig-2018")
    check_frames(file)


def test_twin_says_how_it_was_made(tmp_path: Path) -> None:
    with h5py.File(ensure_twin(1, seed=7, folder=tmp_path)) as h5:
        assert (h5.attrs["profile"], h5.attrs["seed"], h5.attrs["frames_per_cell"]) == ("deepsig-2018", 7, 1)
        assert h5.attrs["generator_version"] == GENERATOR_VERSION
        assert tuple(h5.attrs["class_names"]) == CLASS_NAMES


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
        "import sys; from pathlib import Path; from storage.radioml_twin import ensure_twin; made = []; "
        "print(ensure_twin(2, 7, folder=Path(sys.argv[1]), on_progress=lambda *done: made.append(done)), len(made))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(2)]
    answers = sorted(maker.communicate(timeout=120)[0].split() for maker in makers)
    assert [made for _, made in answers] == ["0", "624"]
    assert inspect_radioml(Path(answers[0][0])).frames_per_cell == 2


def test_interrupted_maker_leaves_no_file_and_the_next_one_succeeds(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_twin(1, seed=7, folder=tmp_path, on_progress=interrupt)
    assert list(tmp_path.glob("*.hdf5*")) == [
        tmp_path / f"radioml-twin-deepsig-2018-s7-f1-v{GENERATOR_VERSION}.hdf5.lock"
    ]
    assert inspect_radioml(ensure_twin(1, seed=7, folder=tmp_path)).frames_per_cell == 1


def test_what_a_killed_maker_left_is_removed_and_a_living_maker_s_is_not(tmp_path: Path) -> None:
    killed, living = _begin_twin(tmp_path, seed=1), _begin_twin(tmp_path, seed=2)
    killed.terminate()
    killed.wait(timeout=60)
    partials = [tmp_path / f"radioml-twin-deepsig-2018-s{n}-f64-v{GENERATOR_VERSION}.hdf5.partial" for n in (1, 2)]
    assert [path.exists() for path in partials] == [True, True]
    ensure_twin(1, seed=3, folder=tmp_path)
    assert living.poll() is None
    assert [path.exists() for path in partials] == [False, True]
    living.kill()
    living.wait(timeout=60)


def _begin_twin(folder: Path, seed: int) -> subprocess.Popen[str]:
    """A process that has begun a twin and does not go on with it."""
    code = (
        "import sys; from pathlib import Path; from storage.radioml_twin import ensure_twin; "
        "ensure_twin(64, int(sys.argv[2]), folder=Path(sys.argv[1]), "
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


def test_all_problems_of_a_request_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        write_twin(tmp_path / "twin.hdf5", 0, -1, "genuine")
    assert str(caught.value).splitlines() == [
        "frames per cell is 0; expected at least 1",
        "seed is -1; expected 0 or more",
        "profile is genuine; expected deepsig-2018",
    ]


def test_twin_larger_than_the_disk_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"free space in .* GiB; expected \d+\.\d GiB for 1000000000 frames per cell"
    ):
        write_twin(tmp_path / "twin.hdf5", 1_000_000_000, 7, "deepsig-2018")
    assert list(tmp_path.iterdir()) == []


def test_command_writes_the_file_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made" / "twin.hdf5"
    assert main(["--frames-per-cell", "1", "--profile", "deepsig-2018", "--seed", "7", "--out", str(path)]) == 0
    assert "624 frames, 5 MiB" in capsys.readouterr().out
    assert inspect_radioml(path).n_frames == 624


def test_command_ends_with_two_and_one_message_when_the_request_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--frames-per-cell", "0", "--out", str(tmp_path / "twin.hdf5")]) == 2
    assert capsys.readouterr().err == "frames per cell is 0; expected at least 1\n"
