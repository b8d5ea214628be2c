"""Why a build's step failed. Standard library alone: FINN's Python writes it, ours reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .json_files import write_json

FAILURE_FILE = "failure.json"

REQUEST = "request"
"""In place of a step's name: what was asked is wrong."""


@dataclass(frozen=True)
class StepFailure:
    """One step's exception."""

    step: str
    error: str
    """The exception on one line."""
    is_of_network: bool
    """Whether the network itself is refused, so that another attempt would fail too."""


def write_failure(output_dir: Path, failure: StepFailure) -> None:
    """In FINN's output folder."""
    write_json(output_dir / FAILURE_FILE, asdict(failure))


def read_failure(output_dir: Path) -> StepFailure | None:
    """None where no step left one."""
    path = output_dir / FAILURE_FILE
    return StepFailure(**json.loads(path.read_text())) if path.is_file() else None
