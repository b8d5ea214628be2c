"""The synthetic signal sets by profile: their classes, SNR labels, frame length, and how a cell's frames are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storage import matlab_signals, modulations, paper_signals, rothe_signals
from storage.cells import Reals

GenerateCell = Callable[[str, int, int, int], Iterator[Reals]]
"""(class name, SNR label in dB, seed, number of frames) to blocks of frames (n, frame_length, 2)."""


@dataclass(frozen=True)
class SignalSet:
    """What a synthetic data set holds, in file order: class by class, and within each by rising SNR label."""

    profile: str
    class_names: tuple[str, ...]
    snrs_db: tuple[int, ...]
    frame_length: int
    """Complex samples per frame."""
    generate_cell: GenerateCell


SIGNAL_SETS = {
    signal_set.profile: signal_set
    for signal_set in (
        SignalSet(
            "deepsig-2018",
            modulations.CLASS_NAMES,
            modulations.SNRS_DB,
            modulations.FRAME_LENGTH,
            modulations.generate_cell,
        ),
        SignalSet(
            "paper",
            modulations.CLASS_NAMES,
            modulations.SNRS_DB,
            modulations.FRAME_LENGTH,
            paper_signals.generate_cell,
        ),
        SignalSet(
            "rothe-9",
            rothe_signals.CLASS_NAMES,
            rothe_signals.SNRS_DB,
            rothe_signals.FRAME_LENGTH,
            rothe_signals.generate_cell,
        ),
        SignalSet(
            "matlab-11",
            matlab_signals.CLASS_NAMES,
            matlab_signals.SNRS_DB,
            matlab_signals.FRAME_LENGTH,
            matlab_signals.generate_cell,
        ),
    )
}
"""By profile; the first is the default."""
