"""Builds by their content: the same network, target and FINN share one folder, and are built once.

The folder holds copies of the network and of its reference vectors. Who builds in it holds its lock; so does FINN's
process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from fpga.toolchain.finn_environment import IN_FINN
from fpga.toolchain.process_group import CommandStoppedError
from storage.artifacts import write_bytes_atomically, write_text_atomically
from storage.records import BuildLevel, BuildTarget

IN_FINN_CODE = tuple(sorted(IN_FINN.glob("*.py")))
"""Our code that runs in FINN's Python: other code, other builds; that of the cross-check counts, too."""

REFERENCE_FILE = "proof.npz"
"""The reference vectors in a build's folder; a stored name."""

LOCK_POLL_S = 0.5


def make_build_key(model: Path, target: BuildTarget, environment: str) -> str:
    """32 hex digits of the network's file, the target, FINN's identity, and our code that runs in FINN's Python."""
    parts = [
        model.read_bytes(),
        f"{target.board} {target.clk_period_ns!r} {target.target_fps} {target.output} {environment}".encode(),
        *(path.read_bytes() for path in IN_FINN_CODE),
    ]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()[:32]


@contextmanager
def lock_folder(folder: Path, stop: Event, on_wait: Callable[[], None]) -> Iterator[int]:
    """Locks the folder for one worker; gives the lock's file descriptor, which FINN's process is to inherit.

    The kernel frees the lock when the last process that has it ends, however it ends. By hand: filelock gives no
    descriptor, and its release would free the lock of a FINN that still runs. `on_wait` is called once where another
    has it. Raises CommandStoppedError once `stop` is set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        if not _try_lock(file.fileno()):
            on_wait()
            while not _try_lock(file.fileno()):
                if stop.wait(LOCK_POLL_S):
                    raise CommandStoppedError
        yield file.fileno()


def place_inputs(folder: Path, model: Path, reference_vectors: Path) -> tuple[Path, Path]:
    """Copies the network and its reference vectors into the folder; returns both paths.

    The folder starts over where it was moved, for FINN writes absolute paths into its models. It also starts over where
    no level is finished and the reference vectors are others.
    """
    own_model, own_vectors = folder / "model.onnx", folder / REFERENCE_FILE
    begun_at = folder / "path.txt"
    is_moved = begun_at.is_file() and begun_at.read_text() != str(folder)
    has_other_vectors = own_vectors.is_file() and own_vectors.read_bytes() != reference_vectors.read_bytes()
    if is_moved or (has_other_vectors and finished_level(folder) is None):
        _start_over(folder)
    for own, given in ((own_model, model), (own_vectors, reference_vectors)):
        if not own.is_file():
            write_bytes_atomically(own, given.read_bytes())
    write_text_atomically(begun_at, str(folder))
    return own_model, own_vectors


def finished_level(folder: Path) -> BuildLevel | None:
    """The last level whose steps are done and whose graph was verified; None before the first."""
    path = folder / "finished.json"
    return BuildLevel(json.loads(path.read_text())["level"]) if path.is_file() else None


def is_finished(folder: Path, level: BuildLevel) -> bool:
    """Whether the folder's build has been through `level`."""
    finished, order = finished_level(folder), list(BuildLevel)
    return finished is not None and order.index(finished) >= order.index(level)


def mark_finished(folder: Path, level: BuildLevel) -> None:
    """Records that the folder's build has been through `level`."""
    write_text_atomically(folder / "finished.json", json.dumps({"level": level.value}))


def _start_over(folder: Path) -> None:
    (folder / "finished.json").unlink(missing_ok=True)
    (folder / REFERENCE_FILE).unlink(missing_ok=True)
    for name in ("output", "generated"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
