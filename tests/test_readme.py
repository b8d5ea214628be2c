"""The README's picture of the house is the house."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("spaces", "storage", "workers", "search", "fpga", "dashboards")


def listed_files() -> dict[str, str]:
    """Path and line of each file in the README's list: lines such as `storage/tables.py  what it knows`."""
    pattern = rf"^((?:{'|'.join(FOLDERS)})/[\w./-]+) +(\S.*)$"
    return dict(re.findall(pattern, (ROOT / "README.md").read_text(), re.M))


def tracked_files() -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return {name for name in names if not name.endswith("__init__.py") and (ROOT / name).exists()}


def test_every_file_has_one_line_in_the_readme() -> None:
    assert len(tracked_files()) > 30
    assert sorted(listed_files()) == sorted(tracked_files())


def test_links_and_pictures_of_the_readme_exist() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)\s]+)\)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_names_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text
