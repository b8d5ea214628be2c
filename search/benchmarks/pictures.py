"""Pictures for READMEs, made by matplotlib of the extra `benchmark`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from storage.artifacts import write_by_rename

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "pictures need the package matplotlib; install it with: pip install 'fpga-modulation-search[benchmark]'"


def can_draw() -> bool:
    """Whether matplotlib is there: to be asked before hours of work; MISSING says what to do."""
    return find_spec("matplotlib") is not None


def make_figure(width: float, height: float) -> Figure:
    """Empty, of this size in inches."""
    from matplotlib.figure import Figure  # in the extra benchmark

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """As PNG, by rename."""
    with write_by_rename(path) as unfinished:
        figure.savefig(unfinished, dpi=130)
