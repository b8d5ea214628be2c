"""A FINN that builds run with: its Python, its kind, and the name by which its builds are known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class FinnKind(Enum):
    """Where a FINN comes from."""

    MADE = "made here"
    EXTERNAL = "external Python"
    CONTAINER = "container"


@dataclass(frozen=True)
class Finn:
    """One FINN, as find_finn and ensure_finn_environment give it."""

    folder: Path
    """Named by FINN's version and a digest of what else tells it from another; its programs lie in bin/."""
    kind: FinnKind
    python: Path
    """The interpreter that has FINN, or a program that stands in for it."""

    @classmethod
    def in_folder(cls, folder: Path, kind: FinnKind) -> Finn:
        """The FINN of a folder, with the folder's Python."""
        return cls(folder, kind, python_in(folder))

    @property
    def identity(self) -> str:
        """The folder's name: it is part of each build key."""
        return self.folder.name

    @property
    def is_container(self) -> bool:
        """Whether its Python runs in a container, without the programs and environment of this machine."""
        return self.kind is FinnKind.CONTAINER

    def find_program(self, name: str) -> Path | None:
        """A program that is installed beside its Python; None where there is none."""
        path = self.folder / "bin" / name
        return path if path.is_file() else None


def python_in(folder: Path) -> Path:
    """The Python of a FINN's folder, whether or not it is there."""
    return folder / "bin" / "python"
