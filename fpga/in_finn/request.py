"""What FINN's Python can be asked: one record per command, kept as JSON.

Standard library alone: ours writes it, FINN's Python reads it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE_NAMES = {"reference_vectors": "proof"}
"""Fields that the files call otherwise."""

PATHS = ("model", "output_dir", "generated", "folder", "reference_vectors")


@dataclass(frozen=True)
class StepsRequest:
    """FINN's steps up to a level, for one network and target."""

    model: Path
    """QONNX."""
    output_dir: Path
    """What FINN writes; models that steps left there are where it goes on."""
    board: str
    """As FINN names it."""
    clk_period_ns: float
    target_fps: int
    """Frames per second that the folding is to reach."""
    output: str
    """class or scores: what the FPGA puts out."""
    level: str
    """A key of `STEPS_OF_LEVEL` in steps.py."""
    reference_vectors: Path | None = None
    """A file of recorded frames to run; without it nothing comes behind the estimate."""
    sweep_targets_fps: tuple[int, ...] = ()
    """With these, the network is folded for each of them instead of being built."""
    parent_pid: int = field(default_factory=os.getpid)
    """The process that asks: FINN's ends with it."""

    @property
    def folder(self) -> Path:
        """The build's own, with the request, FINN's log and `output_dir` in it."""
        return self.output_dir.parent

    def to_json(self) -> str:
        """The text that `read_steps_request` reads."""
        return _to_json(asdict(self))


@dataclass(frozen=True)
class RtlRequest:
    """The RTL layers of a finished build, and what flows through them."""

    output_dir: Path
    """The build's, as `generated`."""
    generated: Path
    """Where the generated code lies."""
    board: str
    folder: Path
    """To write to."""
    reference_vectors: Path
    n_frames: int
    """The first ones that are run."""
    parent_pid: int = field(default_factory=os.getpid)

    def to_json(self) -> str:
        """The text that `read_rtl_request` reads."""
        return _to_json(asdict(self))


def read_steps_request(path: Path) -> StepsRequest:
    """Reads what `to_json` wrote."""
    values = _read(path)
    return StepsRequest(**values | {"sweep_targets_fps": tuple(values["sweep_targets_fps"])})


def read_rtl_request(path: Path) -> RtlRequest:
    """Reads what `to_json` wrote."""
    return RtlRequest(**_read(path))


def read_parent_pid(path: Path) -> int:
    """The process id of the worker that asked, in any request."""
    return int(json.loads(path.read_text())["parent_pid"])


def read_board(path: Path) -> str:
    """The board in any request, also in one of a build by older code."""
    return str(json.loads(path.read_text())["board"])


def _to_json(values: dict[str, Any]) -> str:
    return json.dumps({FILE_NAMES.get(name, name): value for name, value in values.items()}, default=str, indent=2)


def _read(path: Path) -> dict[str, Any]:
    names = {file_name: name for name, file_name in FILE_NAMES.items()}
    values = {names.get(name, name): value for name, value in json.loads(path.read_text()).items()}
    return values | {name: Path(values[name]) for name in PATHS if values.get(name) is not None}
