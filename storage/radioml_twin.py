"""The synthetic twin of RadioML 2018.01A: a file of the same layout, made on the spot from a seed."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from storage.modulations import CLASS_NAMES, FRAME_LENGTH, SNRS_DB, generate_cell
from storage.radioml import DatasetError, cache_folder
from storage.radioml import Progress as ProgressCallback

GENERATOR_VERSION = 2
"""Raised whenever the same seed gives other frames."""

PROFILES = ("deepsig-2018",)
"""`deepsig-2018`: as the genuine file really is, where that departs from the paper."""

_BYTES_PER_FRAME = FRAME_LENGTH * 2 * 4 + (len(CLASS_NAMES) + 1) * 8


def ensure_twin(
    frames_per_cell: int,
    seed: int,
    profile: str = "deepsig-2018",
    folder: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> Path:
    """The twin of this profile, seed and size, made at the first call (by default in the user's cache folder).

    Of several processes that want it at once, one makes it and the others wait. Raises DatasetError where it cannot be.
    """
    folder = cache_folder() if folder is None else folder
    try:
        return _ensure_twin(folder, frames_per_cell, seed, profile, on_progress)
    except OSError as error:
        raise DatasetError(
            f"the synthetic twin of the data set cannot be made in {folder}: {error.strerror or error}; "
            "expected a folder that can be written (XDG_CACHE_HOME names another), or a data file at dataset.path"
        ) from error


def write_twin(
    path: Path, frames_per_cell: int, seed: int, profile: str, on_progress: ProgressCallback | None = None
) -> None:
    """Make the twin at `path`, in place of any file there; it appears whole, by rename, or not at all."""
    _check_request(path, frames_per_cell, seed, profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_space(path, frames_per_cell)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with h5py.File(partial, "w") as h5:
            _write_attributes(h5, frames_per_cell, seed, profile)
            _write_cells(h5, frames_per_cell, seed, on_progress)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m storage.radioml_twin`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m storage.radioml_twin", description=__doc__)
    parser.add_argument("--frames-per-cell", type=int, default=64, help="frames per class and SNR; default 64")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0])
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--out", type=Path, required=True, help="the HDF5 file to write")
    args = parser.parse_args(arguments)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        _check_request(args.out, args.frames_per_cell, args.seed, args.profile)
        with Progress(*columns) as progress:
            task = progress.add_task("frames", total=None)
            write_twin(
                *(args.out, args.frames_per_cell, args.seed, args.profile),
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except (DatasetError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; {args.out} was not written", file=sys.stderr)
        return 130
    print(f"{args.out}: {_count_frames(args.frames_per_cell)} frames, {args.out.stat().st_size / 2**20:.0f} MiB")
    return 0


def _ensure_twin(
    folder: Path, frames_per_cell: int, seed: int, profile: str, on_progress: ProgressCallback | None
) -> Path:
    name = f"radioml-twin-{profile}-s{seed}-f{frames_per_cell}-v{GENERATOR_VERSION}.hdf5"
    path = folder / name
    if path.exists():
        return path
    _remove_stale_partials(folder)
    with _lock(folder / f"{name}.lock"):
        if not path.exists():
            write_twin(path, frames_per_cell, seed, profile, on_progress)
    return path


def _check_request(path: Path, frames_per_cell: int, seed: int, profile: str) -> None:
    problems = []
    if frames_per_cell < 1:
        problems.append(f"frames per cell is {frames_per_cell}; expected at least 1")
    if seed < 0:
        problems.append(f"seed is {seed}; expected 0 or more")
    if profile not in PROFILES:
        problems.append(f"profile is {profile}; expected {' or '.join(PROFILES)}")
    if path.is_dir():
        problems.append(f"output file is {path}, a folder; expected a file name")
    if problems:
        raise DatasetError("\n".join(problems))


def _check_space(path: Path, frames_per_cell: int) -> None:
    needed, free = _count_frames(frames_per_cell) * _BYTES_PER_FRAME, shutil.disk_usage(path.parent).free
    if needed > free:
        raise DatasetError(
            f"free space in {path.parent} is {free / 2**30:.1f} GiB; expected {needed / 2**30:.1f} GiB for "
            f"{frames_per_cell} frames per cell"
        )


def _write_attributes(h5: h5py.File, frames_per_cell: int, seed: int, profile: str) -> None:
    h5.attrs["profile"] = profile
    h5.attrs["seed"] = seed
    h5.attrs["generator_version"] = GENERATOR_VERSION
    h5.attrs["frames_per_cell"] = frames_per_cell
    h5.attrs["class_names"] = list(CLASS_NAMES)


def _write_cells(h5: h5py.File, frames_per_cell: int, seed: int, on_progress: ProgressCallback | None) -> None:
    n_frames = _count_frames(frames_per_cell)
    frames = h5.create_dataset("X", (n_frames, FRAME_LENGTH, 2), np.float32)
    one_hot = h5.create_dataset("Y", (n_frames, len(CLASS_NAMES)), np.int64)
    snr_column = h5.create_dataset("Z", (n_frames, 1), np.int64)
    first = 0
    for label, class_name in enumerate(CLASS_NAMES):
        for snr_db in SNRS_DB:
            one_hot[first : first + frames_per_cell] = np.eye(len(CLASS_NAMES), dtype=np.int64)[label]
            snr_column[first : first + frames_per_cell] = snr_db
            for block in generate_cell(class_name, snr_db, seed, frames_per_cell):
                frames[first : first + len(block)] = block
                first += len(block)
            if on_progress is not None:
                on_progress(first, n_frames)


def _count_frames(frames_per_cell: int) -> int:
    return len(CLASS_NAMES) * len(SNRS_DB) * frames_per_cell


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # falls with its process, so a killed maker leaves nothing behind
        yield


def _remove_stale_partials(folder: Path) -> None:
    """Removes what makers left that were killed: the lock of a living one cannot be had."""
    for path in folder.glob("*.hdf5.lock"):
        with contextlib.suppress(OSError), path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.with_suffix(".partial").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
