"""Which folder and which room may import which, that no import comes back, and where the heavy libraries live."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SPACES, STORAGE, WORKERS = "spaces", "storage", "workers"

STORAGE_ROOMS = {STORAGE, "storage/dataset", "storage/signals", "storage/twin"}

WORKERS_ROOMS = {WORKERS, "workers/cpu", "workers/gpu", "workers/integer"}

MAY_IMPORT: dict[str, set[str]] = {
    SPACES: set(),
    STORAGE: {SPACES, *STORAGE_ROOMS},
    "storage/signals": set(),
    "storage/dataset": {SPACES, STORAGE, "storage/signals"},
    "storage/twin": {STORAGE, "storage/signals", "storage/dataset"},
    WORKERS: {SPACES, *STORAGE_ROOMS, *WORKERS_ROOMS, "workers/benchmarks"},
    "workers/cpu": {WORKERS},
    "workers/gpu": {WORKERS, "storage/dataset"},
    "workers/integer": {WORKERS},
    "workers/benchmarks": {SPACES, *STORAGE_ROOMS, *WORKERS_ROOMS},
    "search": {
        SPACES,
        *STORAGE_ROOMS,
        *WORKERS_ROOMS,
        "search/reports",
        "search/processes",
        "search/strategy",
        "search/benchmarks",
    },
    "search/reports": {SPACES, STORAGE, "search"},
    "search/processes": {SPACES, STORAGE, WORKERS},
    "search/strategy": {SPACES, STORAGE, WORKERS, "search", "search/reports"},
    "search/benchmarks": {
        SPACES,
        *STORAGE_ROOMS,
        *WORKERS_ROOMS,
        "workers/benchmarks",
        "search",
        "search/processes",
        "search/reports",
        "search/strategy",
    },
    "fpga": {SPACES, STORAGE, "fpga/toolchain", "fpga/rtl", "fpga/in_finn"},
    "fpga/in_finn": set(),
    "fpga/toolchain": {STORAGE},
    "fpga/rtl": {STORAGE, "fpga", "fpga/toolchain", "fpga/in_finn"},
    "dashboards": {SPACES, STORAGE, "search", "search/reports", "dashboards/pages"},
    "dashboards/pages": {SPACES, *STORAGE_ROOMS, "search", "search/reports", "dashboards"},
}
"""Beside itself. A folder stands for its own files, those of its rooms left out."""

FOLDERS = tuple(room for room in MAY_IMPORT if "/" not in room)

IMPORTED_BY_THEIR_COMMANDS_ALONE = {"workers/benchmarks": {"search/benchmarks"}, "search/benchmarks": set()}
"""Benchmarks, and who else may use them. A command is a file of a folder that holds nothing but a call."""

LIVES_IN: dict[str, set[str]] = {
    "sqlalchemy": {"storage"},
    "h5py": {"storage", "workers/benchmarks"},
    "torch": {"workers", "fpga/in_finn"},
    "brevitas": {"workers"},
    "qonnx": {"workers", "fpga/in_finn"},
    "ray": {"workers/pool.py"},
    "optuna": {"search", "dashboards"},
    "optuna_dashboard": {"dashboards"},
    "sklearn": {"search/strategy"},
    "matplotlib": {"search/benchmarks"},
    "syne_tune": {"search/benchmarks"},
    "plotly": {"dashboards", "storage/twin/signal_page.py", "fpga/sweep.py"},
    "starlette": {"dashboards"},
    "finn": {"fpga/in_finn"},
}

READ_BY_BOTH_PYTHONS = [
    *(Path(f"fpga/in_finn/{name}.py") for name in ("request", "network_report", "rtl_layers", "step_failure")),
    Path("fpga/in_finn/json_files.py"),
    Path("fpga/toolchain/forked_calls.py"),
    Path("fpga/toolchain/container.py"),
]
"""FINN's Python has none of our libraries, and ours has not FINN's."""


def source_files() -> list[Path]:
    return [path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(path: Path) -> Iterator[str]:
    """All that the file imports: `a.b` and `a.b.c` of `from a.b import c`."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(path.parent.parts[: len(path.parent.parts) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (above, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_files(path: Path) -> set[Path]:
    """Those of ours."""
    names = (name.replace(".", "/") for name in imported_modules(path))
    return {Path(f"{name}.py") for name in names if (ROOT / f"{name}.py").is_file()} - {path}


def room_of(path: Path) -> str:
    return next(parent.as_posix() for parent in path.parents if parent.as_posix() in MAY_IMPORT)


def room_or_file(path: Path) -> str:
    """A file that lies in no room is one by itself."""
    return path.as_posix() if room_of(path) in FOLDERS else room_of(path)


def find_circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Names that lead back to the first of them; empty where none do."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_files_and_every_file_a_room() -> None:
    assert {room_of(path) for path in source_files()} == set(MAY_IMPORT)
    assert {path.parent.as_posix() for path in source_files()} == set(MAY_IMPORT)


def test_every_room_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(room.replace("/", ".") for room in MAY_IMPORT)


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_imports_point_downwards(path: Path) -> None:
    rooms = {room_of(imported) for imported in imported_files(path)}
    assert rooms <= MAY_IMPORT[room_of(path)] | {room_of(path)}


def test_no_import_leads_back_to_its_file() -> None:
    arrows = {path.as_posix(): {file.as_posix() for file in imported_files(path)} for path in source_files()}
    assert sum(len(files) for files in arrows.values()) > 300
    assert find_circle(arrows) == []


def test_no_import_leads_back_to_its_room() -> None:
    arrows: dict[str, set[str]] = {}
    for path in source_files():
        own = room_or_file(path)
        arrows.setdefault(own, set()).update({room_or_file(imported) for imported in imported_files(path)} - {own})
    assert len(arrows) > 60
    assert find_circle(arrows) == []


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) != []


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_nothing_but_commands_imports_benchmarks(path: Path) -> None:
    for room, others in IMPORTED_BY_THEIR_COMMANDS_ALONE.items():
        if room_of(path) not in {room, *others} and any(room_of(file) == room for file in imported_files(path)):
            statements = ast.parse((ROOT / path).read_text()).body
            assert not any(isinstance(one, ast.FunctionDef | ast.ClassDef) for one in statements)


@pytest.mark.parametrize("path", READ_BY_BOTH_PYTHONS, ids=str)
def test_what_both_pythons_read_takes_the_standard_library_only(path: Path) -> None:
    others = {path.with_name(f"{name.split('.')[-1]}.py") for name in imported_modules(path)}
    libraries = {name.split(".")[0] for name in imported_modules(path)} - {"fpga", ""}
    assert libraries <= sys.stdlib_module_names
    assert {other for other in others if (ROOT / other).is_file()} <= set(READ_BY_BOTH_PYTHONS)


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_heavy_libraries_stay_where_they_live(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imported_modules(path)} & set(LIVES_IN)
    places = {path.as_posix(), *(parent.as_posix() for parent in path.parents)}
    assert not {name for name in libraries if not LIVES_IN[name] & places}
