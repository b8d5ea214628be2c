"""How a trial's training went, epoch by epoch: `history.json` in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from storage.artifacts import write_bytes_atomically

HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch."""

    stage: int
    epoch: int
    """Of its stage, from 1."""
    loss: float
    """Mean cross-entropy over the training frames, nats; lower is better."""
    accuracy: float | None
    """On validation frames, some or all, 0 to 1, of the network as it was then; None where it was not measured."""
    seconds: float
    """Of training in its stage so far."""


_RECORDS: TypeAdapter[tuple[EpochRecord, ...]] = TypeAdapter(tuple[EpochRecord, ...])


def read_history(folder: Path) -> tuple[EpochRecord, ...]:
    """In order; empty where there is none, or none that can be read."""
    try:
        return _RECORDS.validate_json((folder / HISTORY_FILE).read_bytes())
    except (OSError, ValidationError):
        return ()


def add_epoch(folder: Path, record: EpochRecord) -> None:
    """Adds an epoch, and drops what an attempt that was killed had written of it or of later ones."""
    before: Sequence[EpochRecord] = read_history(folder)
    kept = [known for known in before if (known.stage, known.epoch) < (record.stage, record.epoch)]
    write_bytes_atomically(folder / HISTORY_FILE, _RECORDS.dump_json((*kept, record)))
