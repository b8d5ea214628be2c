"""Provenance: the commit, the versions, and that nothing heavy is imported for them."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import sqlalchemy

from storage.provenance import PACKAGES, collect_provenance, read_git_commit


def test_provenance_has_versions_of_all_packages() -> None:
    provenance = collect_provenance()

    assert provenance["python"] == platform.python_version()
    assert provenance["sqlalchemy"] == sqlalchemy.__version__
    assert set(PACKAGES) <= set(provenance)
    assert all(provenance.values())


def test_provenance_imports_none_of_the_packages() -> None:
    program = (
        "import sys, storage.provenance; storage.provenance.collect_provenance();"
        "print({'torch', 'ray', 'optuna', 'qonnx'} & set(sys.modules))"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"


def test_commit_is_marked_dirty_only_while_tracked_files_differ(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    (tmp_path / "tracked").write_text("old")
    _git(tmp_path, "add", "tracked")
    _git(tmp_path, "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "--quiet", "-m", "first")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").touch()

    assert read_git_commit(tmp_path) == commit
    (tmp_path / "tracked").write_text("new")
    assert read_git_commit(tmp_path) == f"{commit}-dirty"


def test_folder_outside_git_has_an_unknown_commit(tmp_path: Path) -> None:
    assert read_git_commit(tmp_path) == "unknown"


def test_folder_inside_somebody_elses_repository_has_an_unknown_commit(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "--allow-empty", "-qm", "first")
    (tmp_path / "site-packages").mkdir()

    assert read_git_commit(tmp_path / "site-packages") == "unknown"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return result.stdout.strip()
