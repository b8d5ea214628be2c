"""Checks of the command that makes a twin."""

import contextlib
import filecmp
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from storage.dataset.radioml import inspect_radioml
from storage.radioml_twin import main
from storage.twin.file import record_path
from tests.storage.unprivileged import run_as_nobody

REPOSITORY = Path(__file__).parents[2]

RUN_OF_SECONDS = ("--frames-per-cell", "1024", "--snrs-db", "0,30", "--seed", "7", "--processes", "2")
"""48 cells, 400 MB; made in processes, and recorded at least once before its end."""


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
