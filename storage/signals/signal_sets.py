"""The synthetic signal sets by profile: their classes, SNR labels, frame length, and how a cell's frames are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storage.signals import matlab, modulations, paper, radioml_classes, rothe
from storage.signals.cells import Reals

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
            radioml_classes.CLASS_NAMES,
            radioml_classes.SNRS_DB,
            radioml_classes.FRAME_LENGTH,
            modulations.generate_cell,
        ),
        SignalSet(
            "paper",
            radioml_classes.CLASS_NAMES,
            radioml_classes.SNRS_DB,
            radioml_classes.FRAME_LENGTH,
            paper.generate_cell,
        ),
        SignalSet(
            "rothe-9",
            rothe.CLASS_NAMES,
            rothe.SNRS_DB,
            rothe.FRAME_LENGTH,
            rothe.generate_cell,
        ),
        SignalSet(
            "matlab-11",
            matlab.CLASS_NAMES,
            matlab.SNRS_DB,
            matlab.FRAME_LENGTH,
            matlab.generate_cell,
        ),
    )
}
"""By profile; the first is the default."""
