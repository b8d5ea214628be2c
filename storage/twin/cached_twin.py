"""The synthetic twin in the user's cache folder, made once whoever asks for it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock

from storage.dataset.radioml import DatasetError, cache_folder
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.cell_writers import GeneratorError
from storage.twin.file import GENERATOR_VERSION, OnFrames, Twin, partial_path, record_path, request_twin, write_twin

PROFILES = tuple(SIGNAL_SETS)
"""`deepsig-2018`: as the genuine file really is, where that departs from the paper."""


def ensure_twin(
    frames_per_cell: int,
    seed: int,
    profile: str = PROFILES[0],
    folder: Path | None = None,
    on_progress: OnFrames | None = None,
) -> Path:
    """The twin of this profile, seed and size, made at the first call (by default in the user's cache folder).

    Of several processes that want it at once, one makes it and the others wait. What a killed one has made, the next
    goes on from. Raises DatasetError where it cannot be.
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


def _ensure_twin(folder: Path, twin: Twin, on_progress: OnFrames | None) -> Path:
    profile = twin.signal_set.profile
    path = folder / f"radioml-twin-{profile}-s{twin.seed}-f{twin.frames_per_cell}-v{GENERATOR_VERSION}.hdf5"
    if path.exists():
        return path
    _remove_older_partials(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", fallback_to_soft=False):  # falls with its process: a killed maker leaves none behind
        if not path.exists():
            write_twin(path, twin, on_progress=on_progress)
    return path


def _remove_older_partials(folder: Path) -> None:
    """Removes what killed makers of another version left, which nobody goes on with.

    The lock of a living maker cannot be had.
    """
    for path in folder.glob("radioml-twin-*.hdf5.lock"):
        if path.name.endswith(f"-v{GENERATOR_VERSION}.hdf5.lock"):
            continue
        with contextlib.suppress(OSError), FileLock(path, blocking=False, fallback_to_soft=False):
            for unfinished in (partial_path, record_path):
                unfinished(path.with_suffix("")).unlink(missing_ok=True)
