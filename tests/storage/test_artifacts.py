"""Artifacts: where they lie, and that none is ever half there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.artifacts import (
    ArtifactError,
    ArtifactStore,
    write_by_rename,
    write_bytes_atomically,
    write_text_atomically,
)

HANGS_IN_THE_MIDDLE = """
import sys
from pathlib import Path
from storage.artifacts import write_by_rename

with write_by_rename(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half of the new con")
    print("written", flush=True)
    sys.stdin.read()
"""

WRITES_FOR_EVER = """
import sys
from pathlib import Path
from storage.artifacts import write_bytes_atomically

while True:
    for letter in (b"a", b"b"):
        write_bytes_atomically(Path(sys.argv[1]), letter * 1_000_000)
        print("written", flush=True)
"""


def test_writer_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text_atomically(tmp_path / "report.json", "the old content")
    with _start(HANGS_IN_THE_MIDDLE, path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()

    assert path.read_text() == "the old content"


def test_writer_killed_in_the_middle_leaves_no_new_file(tmp_path: Path) -> None:
    with _start(HANGS_IN_THE_MIDDLE, tmp_path / "report.json") as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()

    assert not (tmp_path / "report.json").exists()


def test_reader_sees_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "frames.bin"
    with _start(WRITES_FOR_EVER, path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        contents = [path.read_bytes() for _ in range(100)]
        writer.kill()

    assert {len(content) for content in contents} == {1_000_000}
    assert {len(set(content)) for content in contents} == {1}


def test_error_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        _write_half(tmp_path / "model.onnx")

    assert list(tmp_path.iterdir()) == []


def _write_half(path: Path) -> None:
    with write_by_rename(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise OSError("disk full")


def test_unfinished_name_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with write_by_rename(tmp_path / "new" / "proof.npz") as unfinished:
        assert (unfinished.suffix, unfinished.parent) == (".npz", tmp_path / "new")
        unfinished.write_bytes(b"whole")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["proof.npz"]


def test_write_replaces_the_file_whole(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "file", b"a long old content")

    write_bytes_atomically(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"


def test_evaluation_folder_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    folder = store.evaluation_folder("dsc4", 7, "0123abcd")

    assert folder == tmp_path / "artifacts/dsc4/trials/00007-0123abcd"
    assert not folder.exists()
    assert store.make_evaluation_folder("dsc4", 7, "0123abcd") == folder
    assert folder.is_dir()


def test_build_folder_is_that_of_its_key(tmp_path: Path) -> None:
    assert ArtifactStore(tmp_path).build_folder("0123abcd") == tmp_path / "builds/0123abcd"


def test_relative_path_leads_back_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = ArtifactStore(Path("artifacts"))
    path = store.write_text("dsc4/trials/00007/model.onnx", "μ")

    relative = store.relative(path)

    assert relative == "dsc4/trials/00007/model.onnx"
    assert store.path(relative) == path
    assert path.read_text(encoding="utf-8") == "μ"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "dsc4/../../secret"])
def test_path_outside_the_store_is_refused(tmp_path: Path, path: str) -> None:
    store = ArtifactStore(tmp_path)

    with pytest.raises(ArtifactError, match="expected one inside"):
        store.path(path)
    with pytest.raises(ArtifactError, match="expected one inside"):
        store.write_bytes(path, b"")


def test_study_name_cannot_leave_the_store(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected one inside"):
        ArtifactStore(tmp_path / "artifacts").evaluation_folder("../../elsewhere", 0, "0")


def _start(program: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
