"""What is corrected in the made environment's copy of FINN's library, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class CorrectionError(Exception):
    """A text that is to be replaced is not there: FINN's version has another one."""


@dataclass(frozen=True)
class Correction:
    """One replacement in one file."""

    file: str
    """Below the environment's site-packages."""
    old: str
    """Must occur exactly once."""
    new: str


CORRECTIONS = (
    # MVAU_rtl keeps the results that still come when its reader begins to wait: the one that makes it hold its input
    # back, the one that arrives before it does so, a cycle later, and those in the pipeline, which mvu.sv makes
    # 4 + clog2(SIMD) + (SIMD == 1) deep. The queue counts on 3 + clog2(SIMD + 1) + (SIMD == 1) and one, so where a
    # result comes in each cycle, SIMD being the matrix's width, it is up to two entries short, and words are lost.
    Correction(
        "finn/finn-rtllib/mvu/mvu_vvu_axi.sv",
        "MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH;",
        "MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH + 2;",
    ),
)


def apply_corrections(environment: Path) -> None:
    """Corrects a virtual environment in which nothing is corrected yet. Raises CorrectionError."""
    for correction in CORRECTIONS:
        (path,) = environment.glob(f"lib/python*/site-packages/{correction.file}")
        text = path.read_text()
        if text.count(correction.old) != 1:
            raise CorrectionError(f"{path} has {text.count(correction.old)} times {correction.old!r}; expected it once")
        path.write_text(text.replace(correction.old, correction.new))
