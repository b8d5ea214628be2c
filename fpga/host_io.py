"""What a host does around the FPGA: samples to its integer inputs, its outputs to classes or scores; numpy alone.

The one place that says what is in `output/host_io.json` of a build:

    frame_shape        [channels, length] of a frame, as the network is given it
    features           what a frame holds: iq, or what compute_features in storage/dataset/features.py makes of I and Q
    input_shape        [1, length, 1, channels] of what the FPGA is given for one frame
    input_layout       NHWC: channels of one sample are neighbours
    input_datatype     FINN's name, INT8: the integers lie between input_offset and input_offset + len(input_thresholds)
    input_scale        what a step of the integers stands for: integer = round(sample / input_scale), ties to even
    input_thresholds   the same exactly: integer = input_offset + how many of these float32 numbers a sample has reached
    input_offset       the least integer
    output_kind        class: the number of the class; scores: an integer per class, scaled on the host
    output_shape       [1, 1] of a class, [1, n_classes] of scores
    output_datatype    FINN's name, UINT8 or such as INT24
    n_classes          how many there are
    logit_scale        a class's score is its integer times this, plus
    logit_bias         this
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class HostIoError(Exception):
    """A host_io.json or an array that is not what the FPGA takes or gives; the message says what is."""


@dataclass(frozen=True)
class HostIo:
    """One build's host_io.json; its fields are described above."""

    frame_shape: tuple[int, int]
    input_shape: tuple[int, ...]
    input_layout: str
    input_datatype: str
    input_scale: float
    input_thresholds: Floats
    input_offset: int
    output_kind: str
    output_shape: tuple[int, ...]
    output_datatype: str
    n_classes: int
    logit_scale: float
    logit_bias: float
    features: str = "iq"

    def to_fpga_input(self, frames: npt.NDArray[np.float32]) -> Integers:
        """Integers (n, length, 1, channels) of frames (n, channels, length). Raises HostIoError for other shapes."""
        if frames.shape[1:] != self.frame_shape:
            raise HostIoError(
                f"frames have shape {frames.shape}; expected (n, {', '.join(map(str, self.frame_shape))})"
            )
        counts = np.searchsorted(self.input_thresholds, frames, side="right")
        integers: Integers = np.moveaxis(counts + self.input_offset, 1, 2)[:, :, np.newaxis, :]
        return integers

    def to_classes(self, outputs: npt.NDArray[np.integer]) -> Integers:
        """The class of each frame, (n,), from the FPGA's outputs (n, ...); of equal scores, the first.

        Raises HostIoError for other shapes.
        """
        flat = self._flatten(outputs)
        classes: Integers = flat.argmax(axis=1) if self.output_kind == "scores" else flat[:, 0]
        return classes

    def to_scores(self, outputs: npt.NDArray[np.integer]) -> Floats:
        """The network's class scores, (n, n_classes), from the FPGA's outputs (n, ...).

        Raises HostIoError where the FPGA gives classes, and for other shapes.
        """
        if self.output_kind != "scores":
            raise HostIoError(f"this FPGA's output is the {self.output_kind}; expected one built for scores")
        scores: Floats = self._flatten(outputs).astype(np.float64) * self.logit_scale + self.logit_bias
        return scores

    def _flatten(self, outputs: npt.NDArray[np.integer]) -> Integers:
        n_expected = self.n_classes if self.output_kind == "scores" else 1
        flat: Integers = outputs.reshape(len(outputs), -1).astype(np.int64)
        if flat.shape[1] != n_expected:
            raise HostIoError(f"outputs have shape {outputs.shape}; expected {n_expected} per frame")
        return flat


def read_host_io(path: Path) -> HostIo:
    """From `output/host_io.json` of a build. Raises HostIoError where it is not one."""
    try:
        values = json.loads(path.read_text())
        for name in ("frame_shape", "input_shape", "output_shape"):
            values[name] = tuple(values[name])
        values["input_thresholds"] = np.asarray(values["input_thresholds"], np.float64)
        return HostIo(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostIoError(f"{path} is no host_io.json of a finished build: {error}") from error
