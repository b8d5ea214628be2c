"""Checks of the twin in the cache folder, made once whoever asks for it, and of the command."""

import contextlib
import filecmp
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.radioml_twin import ensure_twin, main
from storage.twin.file import GENERATOR_VERSION, partial_path, record_path
from tests.storage.unprivileged import run_as_nobody

REPOSITORY = Path(__file__).parents[2]

RUN_OF_SECONDS = ("--frames-per-cell", "1024", "--snrs-db", "0,30", "--seed", "7", "--processes", "2")
"""48 cells, 400 MB; made in processes, and recorded at least once before its end."""


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
        "import sys; from pathlib import Path; from storage.radioml_twin import ensure_twin; made = []; "
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
        "import sys; from pathlib import Path; from storage.radioml_twin import ensure_twin; "
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


def test_command_writes_the_file_it_names_and_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made" / "twin.hdf5"
    arguments = ["--frames-per-cell", "1", "--profile", "deepsig-2018", "--seed", "7", "--out", str(path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{path}: 624 frames, 5 MiB\n"
    assert inspect_radioml(path).n_frames == 624
    written = path.stat().st_mtime_ns
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{path} is this very twin already; nothing to do: 624 frames, 5 MiB\n"
    assert path.stat().st_mtime_ns == written


def test_command_takes_other_snr_labels_and_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "twin.hdf5"
    assert main(["--frames-per-cell", "1", "--snrs-db", "-20,0,31", "--out", str(path)]) == 0
    assert inspect_radioml(path).snrs_db == (-20, 0, 31)
    with h5py.File(path) as h5:
        assert h5.attrs["snrs_db"].tolist() == [-20, 0, 31]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames-per-cell", "0"], "frames per cell is 0; expected at least 1"),
        (["--seed", "-1"], "seed is -1; expected 0 to 2**63 - 1"),
        (["--snrs-db", "30,-20"], "SNR labels are 30,-20; expected rising whole numbers of dB from -100 to 100, such"),
        (["--snrs-db", "0,101"], "SNR labels are 0,101; expected rising whole numbers of dB from -100 to 100, such"),
        (["--frames-per-cell", "1000000000"], " GiB for 1000000000 frames per cell"),
    ],
)
def test_command_ends_with_two_and_one_message_when_the_request_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "twin.hdf5")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "genuine", "--out", "twin.hdf5"], "argument --profile: invalid choice: 'genuine'"),
        (["--frames-per-cell", "1.5", "--out", "twin.hdf5"], "argument --frames-per-cell: invalid int value: '1.5'"),
        (["--snrs-db", "0,1.5", "--out", "twin.hdf5"], "'0,1.5'; expected whole numbers of dB such as -20,0,30"),
        (["--processes", "0", "--out", "twin.hdf5"], "argument --processes: '0'; expected 1 to 1024"),
        (["--plot", "page.html", "--snr", "high"], "argument --snr: invalid int value: 'high'"),
        (["--plot", "page.png"], "argument --plot: 'page.png'; expected a file name that ends in .html"),
        (["--data", "file.hdf5"], "--data names the file that --plot shows; expected --plot beside it, and no --out"),
        ([], "nothing to do; expected --out FILE.hdf5, --plot PAGE.html, or both"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_file_in_place_of_a_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "new" / "twin.hdf5"
    assert main(["--frames-per-cell", "1", "--out", str(path)]) == 2
    expected = f"output file is {path}, but {tmp_path / 'file'} is a file; expected a file in a folder\n"
    assert capsys.readouterr().err == expected


def test_folder_without_permission_is_named(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    code, error = run_as_nobody(_run_command, public_folder / "twin.hdf5")
    assert code == "2"
    assert error.count("\n") == 1
    assert "cannot be written: Permission denied; expected a file in a folder" in error


def _run_command(path: Path) -> list[str]:
    """Exit code and what it wrote on standard error."""
    with contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(["--frames-per-cell", "1", "--out", str(path)])
    return [str(code), error.getvalue()]


def test_folder_here_is_no_output_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--frames-per-cell", "1", "--out", "."]) == 2
    assert capsys.readouterr().err == "output file is ., a folder; expected a file name\n"


@pytest.mark.slow
def test_run_that_was_killed_goes_on_and_ends_with_the_very_same_file(tmp_path: Path) -> None:
    path = tmp_path / "twin.hdf5"
    killed = _start_command(path)
    workers = _wait_for_record(killed, path)
    killed.kill()
    killed.wait(timeout=60)
    _wait_until_ended(workers)
    assert not path.exists()
    resumed = _start_command(path)
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0
    n_kept, words = output.split(" ", 3)[2], output.splitlines()[0]
    assert words == f"going on: {n_kept} of 48 cells are there"
    assert 0 < int(n_kept) < 48
    unbroken = tmp_path / "unbroken.hdf5"
    assert main([*RUN_OF_SECONDS, "--out", str(unbroken)]) == 0
    assert filecmp.cmp(path, unbroken, shallow=False)


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept_and_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "twin.hdf5"
    stopped = _start_command(path)
    workers = _wait_for_record(stopped, path)
    stopped.send_signal(signal.SIGINT)
    _, error = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    n_kept = len(record_path(path).read_text().splitlines()) - 1
    assert error == (
        f"stopped; {path} is not written yet, {n_kept} of 48 cells are kept: the same command goes on from there\n"
    )
    assert n_kept > 0
    _wait_until_ended(workers)


def _start_command(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "storage.radioml_twin", *RUN_OF_SECONDS, "--out", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)


def _wait_for_record(process: subprocess.Popen[str], path: Path) -> list[int]:
    """Returns when a cell is recorded; the process's own processes."""
    deadline = time.monotonic() + 60
    while not record_path(path).exists() or len(record_path(path).read_text().splitlines()) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = [list.read_text() for list in Path(f"/proc/{process.pid}/task").glob("*/children")]
    workers = [int(pid) for pid in " ".join(children).split()]
    assert len(workers) == 2
    return workers


def _wait_until_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
