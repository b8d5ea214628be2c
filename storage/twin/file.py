"""One synthetic twin as a file: its layout, and how an interrupted call is resumed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from storage.byte_sizes import describe_bytes
from storage.dataset.radioml import DatasetError
from storage.signals.signal_sets import SIGNAL_SETS, SignalSet
from storage.twin.cell_writers import CellPlace, CellSource, fill_cells
from storage.twin.finished_cells import FinishedCells, load_finished_cells, open_finished_cells

GENERATOR_VERSION = 3
"""Raised whenever the same seed gives other frames."""

SNR_LIMIT_DB = 100
"""Limit of SNR labels, in both directions. A label counts twice, and float32 holds noise of little over 200 dB."""

OnFrames = Callable[[int, int], None]
"""Called with (done, total) frames."""

MAX_DEFAULT_PROCESSES = 16
"""At 40 MB each they stay below 1 GB, and make more frames/s than most disks can write."""

_LABEL_ROWS = 65_536
"""Rows of Y made at once: 12 MiB of 24 classes."""


@dataclass(frozen=True)
class Twin:
    """What a twin holds. `request_twin` checks it."""

    signal_set: SignalSet
    frames_per_cell: int
    seed: int

    @property
    def n_cells(self) -> int:
        return len(self.signal_set.class_names) * len(self.signal_set.snrs_db)

    @property
    def n_frames(self) -> int:
        return self.n_cells * self.frames_per_cell

    @property
    def n_bytes(self) -> int:
        """Size of X, Y and Z."""
        return self.n_frames * (self.signal_set.frame_length * 8 + (len(self.signal_set.class_names) + 1) * 8)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says of itself."""
        return {
            "profile": self.signal_set.profile,
            "seed": self.seed,
            "generator_version": GENERATOR_VERSION,
            "frames_per_cell": self.frames_per_cell,
            "class_names": list(self.signal_set.class_names),
            "snrs_db": list(self.signal_set.snrs_db),
        }


def request_twin(frames_per_cell: int, seed: int, profile: str, snrs_db: tuple[int, ...] | None = None) -> Twin:
    """A twin of the profile, at other SNR labels than its own where they are given.

    Raises DatasetError, one line per problem.
    """
    problems = []
    if frames_per_cell < 1:
        problems.append(f"frames per cell is {frames_per_cell}; expected at least 1")
    if not 0 <= seed < 2**63:
        problems.append(f"seed is {seed}; expected 0 to 2**63 - 1")
    if profile not in SIGNAL_SETS:
        problems.append(f"profile is {profile}; expected {' or '.join(SIGNAL_SETS)}")
    if snrs_db is not None and not _are_snr_labels(snrs_db):
        problems.append(
            f"SNR labels are {','.join(map(str, snrs_db))}; "
            f"expected rising whole numbers of dB from -{SNR_LIMIT_DB} to {SNR_LIMIT_DB}, such as -20,0,30"
        )
    if problems:
        raise DatasetError("\n".join(problems))
    signal_set = SIGNAL_SETS[profile]
    return Twin(signal_set if snrs_db is None else replace(signal_set, snrs_db=snrs_db), frames_per_cell, seed)


def write_twin(
    path: Path, twin: Twin, processes: int | None = None, on_progress: OnFrames | None = None, force: bool = False
) -> bool:
    """Makes the twin at `path`, in `processes` processes (default one per core, 16 at most); False where it is there.

    It appears whole, by rename. It is the same byte for byte on any x86-64 processor with AVX2; elsewhere it differs by
    rounding, less than 1e-5. An interrupted or killed call for the same twin is resumed.
    Raises DatasetError where `path` is no place for it: a folder, a full disk, a file that is no twin, another twin
    without `force`, a twin that another process is writing. Raises OSError where the disk fails on the way, and
    GeneratorError where a process does.
    """
    if is_written(path, twin, force):
        return False
    _check_room(path, twin)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    with open_finished_cells(record_path(path), lambda: _flush(partial)) as record:
        if is_written(path, twin, force):  # by another process, just before the record was ours
            return False
        if not _can_go_on(partial, record, twin):
            _begin(partial, record, twin)
        _fill(partial, record, twin, processes or default_processes(), on_progress)
        record.save()
        partial.replace(path)
        record_path(path).unlink(missing_ok=True)
    return True


def is_written(path: Path, twin: Twin, force: bool) -> bool:
    """Whether exactly this twin is at `path`. Raises DatasetError for any other file that may not be replaced."""
    _refuse_folder(path)
    if not path.exists():
        return False
    found = load_attributes(path)
    if found == twin.attributes:
        return True
    if found is None:
        raise DatasetError(
            f"output file is {path}, which exists and is no twin: it is not overwritten; expected another file name"
        )
    if not force:
        raise DatasetError(
            f"output file is {path}, which exists and is another twin ({_difference(found, twin.attributes)}); "
            "expected another file name, or --force to replace it"
        )
    return False


def load_attributes(path: Path) -> dict[str, Any] | None:
    """The attributes stored in a twin, as in `Twin.attributes`; None for any other file and for a damaged twin."""
    try:
        with h5py.File(path, "r", locking=False) as h5:
            return _plain_attributes(h5)
    except (OSError, KeyError, ValueError, TypeError, OverflowError):
        return None


def count_finished_cells(path: Path, twin: Twin) -> int:
    """How many cells of this twin an interrupted call has finished.

    Raises DatasetError where `path` is a folder.
    """
    _refuse_folder(path)
    return len(load_finished_cells(record_path(path), twin.attributes)) if partial_path(path).exists() else 0


def partial_path(path: Path) -> Path:
    """Where the twin grows until it is whole."""
    return path.with_name(f"{path.name}.partial")


def record_path(path: Path) -> Path:
    """Which of its cells are there."""
    return path.with_name(f"{path.name}.cells")


def default_processes() -> int:
    """One per core that this process may use, up to 16."""
    return min(len(os.sched_getaffinity(0)), MAX_DEFAULT_PROCESSES)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise DatasetError(f"output file is {path}, a folder; expected a file name")


def _are_snr_labels(snrs_db: tuple[int, ...]) -> bool:
    is_rising = all(low < high for low, high in itertools.pairwise(snrs_db))
    return bool(snrs_db) and is_rising and max(map(abs, snrs_db)) <= SNR_LIMIT_DB


def _plain_attributes(h5: h5py.File) -> dict[str, Any]:
    """Raises KeyError where a twin's attribute is missing; ValueError, TypeError, OverflowError where it is foreign."""
    return {
        "profile": str(h5.attrs["profile"]),
        **{name: int(h5.attrs[name]) for name in ("seed", "generator_version", "frames_per_cell")},
        "class_names": [str(name) for name in h5.attrs["class_names"]],
        "snrs_db": [int(snr_db) for snr_db in h5.attrs["snrs_db"]],
    }


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    def say(value: Any) -> str:
        return f"{len(value)} of them" if isinstance(value, list) and len(value) > 8 else str(value)

    return ", ".join(
        f"{name} {say(found[name])} rather than {say(wanted[name])}" for name in found if found[name] != wanted[name]
    )


def _check_room(path: Path, twin: Twin) -> None:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise DatasetError(f"output file is {path}, but {folder} is a file; expected a file in a folder")
    partial = partial_path(path)
    written = partial.stat().st_blocks * 512 if partial.exists() else 0
    needed, free = twin.n_bytes - written, shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"free space in {folder} is {describe_bytes(free)}; expected {describe_bytes(needed)} for "
            f"{twin.frames_per_cell} frames per cell"
        )


def _can_go_on(partial: Path, record: FinishedCells, twin: Twin) -> bool:
    return record.is_of(twin.attributes) and load_attributes(partial) == twin.attributes


def _begin(partial: Path, record: FinishedCells, twin: Twin) -> None:
    """The file with all but its frames."""
    partial.unlink(missing_ok=True)  # not written over: processes that write to an older one may still be ending
    record.clear()
    with h5py.File(partial, "w") as h5:
        h5.attrs.update(twin.attributes)
        n_classes = len(twin.signal_set.class_names)
        in_place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        in_place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # X gets its place in the file now,
        in_place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # and no zeros: its frames are written past HDF5
        h5.create_dataset("X", (twin.n_frames, twin.signal_set.frame_length, 2), "<f4", dcpl=in_place)
        one_hot = h5.create_dataset("Y", (twin.n_frames, n_classes), "<i8")
        snr_column = h5.create_dataset("Z", (twin.n_frames, 1), "<i8")
        for first in range(0, twin.n_frames, _LABEL_ROWS):
            cell = np.arange(first, min(first + _LABEL_ROWS, twin.n_frames)) // twin.frames_per_cell
            label, snr = np.divmod(cell, len(twin.signal_set.snrs_db))
            one_hot[first : first + len(cell)] = np.eye(n_classes, dtype=np.int64)[label]
            snr_column[first : first + len(cell), 0] = np.array(twin.signal_set.snrs_db)[snr]
    _flush(partial)
    record.begin(twin.attributes)


def _fill(partial: Path, record: FinishedCells, twin: Twin, processes: int, on_progress: OnFrames | None) -> None:
    """Makes the cells that are missing."""
    places = [place for place in _cell_places(partial, twin) if place.cell not in record.cells]
    n_done = twin.n_cells - len(places)
    source = CellSource(twin.signal_set.profile, twin.seed, twin.frames_per_cell)
    filled = fill_cells(partial, source, places, processes)
    with contextlib.closing(filled):
        for cell in filled:
            record.add(cell)
            n_done += 1
            if on_progress is not None:
                on_progress(n_done * twin.frames_per_cell, twin.n_frames)


def _cell_places(partial: Path, twin: Twin) -> Iterator[CellPlace]:
    with h5py.File(partial, "r", locking=False) as h5:
        offset = int(h5["X"].id.get_offset())
    cell_bytes = twin.frames_per_cell * twin.signal_set.frame_length * 8
    for cell in range(twin.n_cells):
        label, snr = divmod(cell, len(twin.signal_set.snrs_db))
        yield CellPlace(
            cell=cell,
            class_name=twin.signal_set.class_names[label],
            snr_db=twin.signal_set.snrs_db[snr],
            offset=offset + cell * cell_bytes,
        )


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
