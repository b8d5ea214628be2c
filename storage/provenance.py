"""What a study was run with: the commit of the code, the versions of the libraries, the machine."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from storage.child_processes import PROJECT_FOLDER

PACKAGES = (
    "fpga-modulation-search",
    "brevitas",
    "h5py",
    "numpy",
    "onnx",
    "optuna",
    "pydantic",
    "qonnx",
    "ray",
    "scipy",
    "sqlalchemy",
    "torch",
)


def collect_provenance() -> dict[str, str]:
    """Names and values to store with a study; "unknown" or "not installed" where there is no value.

    Reads the packages' metadata only, so it imports none of them.
    """
    return {
        "git_commit": read_git_commit(PROJECT_FOLDER),
        "python": platform.python_version(),
        **{package: _read_version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
    }


def read_git_commit(folder: Path) -> str:
    """The commit checked out in `folder`, with "-dirty" where tracked files differ from it; "unknown" outside git."""
    top = _run_git(folder, "rev-parse", "--show-toplevel")
    commit = _run_git(folder, "rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != folder.resolve():
        return "unknown"
    changes = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def _run_git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _read_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
