"""Where the files of trials and builds lie. Each is written by rename, so no file is ever incomplete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_ARTIFACTS_FOLDER = Path("runs/artifacts")
"""In the current folder."""


class ArtifactError(Exception):
    """A path outside the artifact store, or a folder that cannot be the store."""


class ArtifactStore:
    """The folder of all artifacts. Paths in the database are relative to it, with slashes."""

    def __init__(self, root: Path) -> None:
        """Raises ArtifactError where the path names an unknown user or has a circle of links."""
        try:
            self.root = root.expanduser().resolve()
        except RuntimeError as error:
            raise ArtifactError(f"the artifacts folder is {root}; expected a folder: {error}") from None

    def check_can_write(self) -> None:
        """Raises ArtifactError where the folder, or the one that holds it, cannot be made or written. Makes nothing."""
        for folder in (self.root.parent, self.root):
            nearest = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                what = "may not be written" if nearest.is_dir() else "is no folder"
                raise ArtifactError(
                    f"the artifacts folder is {self.root}, but {nearest} {what}; "
                    "expected a folder that can be written, as can the one that holds it"
                )

    def evaluation_folder(self, study_name: str, trial_number: int, identity: str) -> Path:
        """The folder of one trial; it need not exist. `identity` names what is trained there, so that a trial of this
        number from another database, or from a study that was deleted, has another folder.
        """
        return self.path(f"{study_name}/trials/{trial_number:05d}-{identity}")

    def make_evaluation_folder(self, study_name: str, trial_number: int, identity: str) -> Path:
        """The folder of one trial, created where it is missing."""
        folder = self.evaluation_folder(study_name, trial_number, identity)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def build_folder(self, key: str) -> Path:
        """The folder of all builds of this key, whichever study asks; it need not exist."""
        return self.path(f"builds/{key}")

    def path(self, relative: str) -> Path:
        """The absolute path of an artifact, which need not exist. Raises ArtifactError outside the store."""
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root):
            raise ArtifactError(f"the artifact path is {relative}; expected one inside {self.root}")
        return path

    def relative(self, path: Path | str) -> str:
        """What the database keeps for this file. Raises ArtifactError outside the store."""
        return self.path(str(path)).relative_to(self.root).as_posix()

    def write_bytes(self, path: Path | str, data: bytes) -> Path:
        """Writes a file of the store, by rename; `path` may be relative to the store."""
        return write_bytes_atomically(self.path(str(path)), data)

    def write_text(self, path: Path | str, text: str) -> Path:
        """Writes a UTF-8 file of the store, by rename; `path` may be relative to the store."""
        return self.write_bytes(path, text.encode())


def write_bytes_atomically(path: Path, data: bytes) -> Path:
    """Writes by rename: a reader finds the old content or the new one, also when the writer is killed."""
    with write_by_rename(path) as unfinished:
        unfinished.write_bytes(data)
    return path


def write_text_atomically(path: Path, text: str) -> Path:
    """Like write_bytes_atomically, in UTF-8."""
    return write_bytes_atomically(path, text.encode())


@contextmanager
def write_by_rename(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; it is renamed to `path` when the block ends without an error.

    For libraries that write the file themselves. The temporary path has the suffix of `path`. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{secrets.token_hex(4)}-{path.name}")
    try:
        yield unfinished
        _flush_to_disk(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
