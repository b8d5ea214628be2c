"""The RTL layers of a build and the file that lists them.

Standard library alone: FINN's Python writes it, ours reads it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "layers.json"

PATHS = ("files", "memory_files", "data_files")


@dataclass(frozen=True)
class RtlLayer:
    """One layer of a build; of an HLS layer only name and operator are known."""

    name: str
    operator: str
    """FINN's, such as Thresholding_rtl."""
    top: str | None = None
    """Its Verilog module; None of an HLS layer."""
    files: tuple[Path, ...] = ()
    memory_top: str | None = None
    """The module that streams its weights from on-chip memory; None where it has none."""
    memory_files: tuple[Path, ...] = ()
    data_files: tuple[Path, ...] = ()
    """What `$readmemh` reads: thresholds, weights."""
    in_bits: int = 0
    """Width of a word of the input stream."""
    out_bits: int = 0
    payload_bits: int = 0
    """Of a word of the output stream; the rest up to a whole byte means nothing."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """All Verilog files, in the order in which they are read, each once."""
        return tuple(dict.fromkeys((*self.files, *self.memory_files)))


@dataclass(frozen=True)
class RtlLayers:
    """All layers of one build."""

    part: str
    """The FPGA."""
    n_frames: int
    """Recorded frames whose words lie beside the file."""
    layers: tuple[RtlLayer, ...]
    """In the order of the data."""


def write_rtl_layers(folder: Path, described: RtlLayers) -> None:
    """As layers.json."""
    (folder / FILE).write_text(json.dumps(asdict(described), default=str, indent=2))


def read_rtl_layers(folder: Path) -> RtlLayers:
    """Raises OSError, ValueError, KeyError or TypeError where the file is missing or has another format."""
    values = json.loads((folder / FILE).read_text())
    return RtlLayers(values["part"], values["n_frames"], tuple(_to_layer(layer) for layer in values["layers"]))


def _to_layer(values: dict[str, Any]) -> RtlLayer:
    return RtlLayer(**values | {name: tuple(Path(path) for path in values[name]) for name in PATHS})
