"""The synthetic twin in the user's cache folder, made once for all who ask."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock

from storage.dataset.radioml import DatasetError, cache_folder
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.cell_writers import GeneratorError
from storage.twin.file import GENERATOR_VERSION, OnFrames, Twin, partial_path, record_path, request_twin, write_twin

PROFILES = tuple(SIGNAL_SETS)
"""The first, `deepsig-2018`, follows the genuine file where that departs from its paper."""


def ensure_twin(
    frames_per_cell: int,
    seed: int,
    profile: str = PROFILES[0],
    folder: Path | None = None,
    on_progress: OnFrames | None = None,
) -> Path:
    """The twin of this profile, seed and size, made at the first call (by default in the user's cache folder).

    Of several processes that ask at once, one makes it and the others wait. Where that one is killed, the next goes on
    from its finished cells. Raises DatasetError where it cannot be made.
    """
    folder = cache_folder() if folder is None else folder
    twin = request_twin(frames_per_cell, seed, profile)
    try:
        return _ensure_twin(folder, twin, on_progress)
    except (OSError, GeneratorError) as error:
        raise DatasetError(
            f"the synthetic twin of the data set cannot be made in {folder}: "
            f"{error.strerror if isinstance(error, OSError) and error.strerror else error}; "
            "expected a folder that can be written (XDG_CACHE_HOME names another), or a data file at dataset.path"
        ) from error


def find_twin(frames_per_cell: int, seed: int, profile: str) -> Path:
    """Where in the user's cache folder this twin lies, or would."""
    return _twin_path(cache_folder(), request_twin(frames_per_cell, seed, profile))


def _twin_path(folder: Path, twin: Twin) -> Path:
    profile = twin.signal_set.profile
    return folder / f"radioml-twin-{profile}-s{twin.seed}-f{twin.frames_per_cell}-v{GENERATOR_VERSION}.hdf5"


def _ensure_twin(folder: Path, twin: Twin, on_progress: OnFrames | None) -> Path:
    path = _twin_path(folder, twin)
    if path.exists():
        return path
    _remove_older_partials(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", fallback_to_soft=False):  # falls with its process: a killed maker leaves none behind
        if not path.exists():
            write_twin(path, twin, on_progress=on_progress)
    return path


def _remove_older_partials(folder: Path) -> None:
    """Removes the unfinished twins of another version whose makers were killed; no process goes on with them.

    A living maker still holds its lock.
    """
    for path in folder.glob("radioml-twin-*.hdf5.lock"):
        if path.name.endswith(f"-v{GENERATOR_VERSION}.hdf5.lock"):
            continue
        with contextlib.suppress(OSError), FileLock(path, blocking=False, fallback_to_soft=False):
            for unfinished in (partial_path, record_path):
                unfinished(path.with_suffix("")).unlink(missing_ok=True)
