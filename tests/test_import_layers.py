"""Which folder may import which, and where the heavy libraries live."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "spaces": set(),
    "storage": {"spaces"},
    "workers": {"spaces", "storage"},
    "search": {"spaces", "storage", "workers"},
    "fpga": {"spaces", "storage"},
    "dashboards": {"spaces", "storage", "search"},
}

LIVES_IN: dict[str, set[str]] = {
    "sqlalchemy": {"storage"},
    "h5py": {"storage", "workers/benchmarks/reading_speed.py"},
    "torch": {"workers", "fpga/in_finn"},
    "brevitas": {"workers"},
    "qonnx": {"workers", "fpga/in_finn"},
    "ray": {"workers/pool.py"},
    "optuna": {"search", "dashboards"},
    "optuna_dashboard": {"dashboards"},
    "plotly": {"dashboards", "storage/twin/signal_page.py", "fpga/sweep.py"},
    "starlette": {"dashboards"},
    "finn": {"fpga/in_finn"},
}


def source_files() -> list[Path]:
    return [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names}


def test_there_are_files_in_every_folder() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in source_files()}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    ours = imported_packages(path) & set(MAY_IMPORT)
    assert ours <= MAY_IMPORT[folder] | {folder}


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_stay_where_they_live(path: Path) -> None:
    relative = path.relative_to(ROOT)
    strangers = {
        name
        for name in imported_packages(path) & set(LIVES_IN)
        if not LIVES_IN[name] & {relative.as_posix(), *map(str, relative.parents)}
    }
    assert not strangers


@pytest.mark.parametrize("path", sorted((ROOT / "fpga/in_finn").glob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_finns_python_imports_nothing_of_ours_but_its_own_folder(path: Path) -> None:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert all(node.level <= 1 for node in nodes)
    assert not imported_packages(path) & set(MAY_IMPORT)
