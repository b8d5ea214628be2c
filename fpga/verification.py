"""Whether FINN's graphs give the integers that the trained network gave, on recorded frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.hardware_reports import GraphAgreement

MIN_AGREEMENT = 0.995
"""Fraction of frames that must get the network's integer scores, all of them."""

MAX_FRACTION = 0.05
"""Of a step, by which a recorded logit may miss an integer: the exporter computes in double precision."""

GRAPHS = {"qonnx": "QONNX file", "streamlined": "streamlined graph", "folded": "folded graph"}
"""In the order in which FINN makes them of each other."""

Integers = npt.NDArray[np.int64]


class VerificationError(Exception):
    """FINN's graph computes something else than the trained network."""


@dataclass(frozen=True)
class Verification:
    """How many recorded frames were run, and how each graph did."""

    n_frames: int
    agreements: tuple[GraphAgreement, ...]

    @property
    def n_classes_equal(self) -> int:
        """Frames that got the right class in the worst graph."""
        return min(agreement.n_classes_equal for agreement in self.agreements)


def verify_outputs(reference_vectors: Path, recorded_outputs: Path) -> Verification:
    """Compares the integer scores of all graphs with the logits of the Brevitas model in the reference vectors.

    Raises VerificationError, which names the first layer that differs, where fewer than MIN_AGREEMENT of the frames get
    the network's scores, where a frame gets another class although its two largest scores differ, where the folded
    graph is not equal to the streamlined one on every frame, where the class that comes out of it is not one of its
    largest score, or where there is nothing to compare.
    """
    with (
        np.load(reference_vectors, allow_pickle=False) as recorded,
        np.load(recorded_outputs, allow_pickle=False) as outputs,
    ):
        expected = to_integer_scores(recorded["logits"], float(outputs["logit_scale"]))
        classes = outputs["folded_classes"]
        found = {graph: (outputs[f"{graph}_scores"], str(outputs[f"{graph}_differs_in"])) for graph in GRAPHS}
    agreements = tuple(compare_scores(graph, expected, *found[graph]) for graph in GRAPHS)
    check_integers(found["streamlined"][0], *found["folded"])
    check_classes(found["folded"][0], classes)
    return Verification(len(expected), agreements)


def compare_scores(graph: str, expected: Integers, found: Integers, differs_in: str) -> GraphAgreement:
    """Compares the integer scores (n, n_classes) of one graph. Raises VerificationError as `verify_outputs` does."""
    if found.shape != expected.shape or len(expected) == 0:
        raise VerificationError(
            f"the {GRAPHS[graph]} gave scores of shape {found.shape} for {len(expected)} recorded frames of shape "
            f"{expected.shape}; expected one each"
        )
    is_equal = (found == expected).all(axis=1)
    agreement = GraphAgreement(graph, int(is_equal.sum()), int(has_right_class(expected, found).sum()))
    where = f"; the first layer that differs from the QONNX file is {differs_in}" if differs_in else ""
    if agreement.n_scores_equal < MIN_AGREEMENT * len(expected):
        raise VerificationError(
            f"the {GRAPHS[graph]} gives other integer scores than the trained network on "
            f"{len(expected) - agreement.n_scores_equal} of {len(expected)} recorded frames; "
            f"expected at most {1 - MIN_AGREEMENT:.1%}{where}"
        )
    if agreement.n_classes_equal < len(expected):
        raise VerificationError(
            f"the {GRAPHS[graph]} gives another class than the trained network on "
            f"{len(expected) - agreement.n_classes_equal} of {len(expected)} recorded frames whose two largest scores "
            f"differ; expected none{where}"
        )
    return agreement


def check_integers(streamlined: Integers, folded: Integers, differs_in: str) -> None:
    """Compares the scores (n, n_classes) of two integer graphs, which round nothing. Raises VerificationError."""
    n_different = int((streamlined != folded).any(axis=1).sum())
    if n_different:
        raise VerificationError(
            f"the {GRAPHS['folded']} gives other integer scores than the {GRAPHS['streamlined']} that it was made of "
            f"on {n_different} of {len(folded)} recorded frames; expected none"
            + (f"; the first layer that differs from the QONNX file is {differs_in}" if differs_in else "")
        )


def check_classes(scores: Integers, classes: Integers) -> None:
    """Checks the classes (n,) against the scores (n, n_classes) they come from. Raises VerificationError."""
    in_range = classes.clip(0, scores.shape[1] - 1)
    chosen = np.take_along_axis(scores, in_range[:, np.newaxis], axis=1)[:, 0]
    is_wrong = (chosen != scores.max(axis=1)) | (in_range != classes)
    if is_wrong.any():
        frame = int(is_wrong.argmax())
        raise VerificationError(
            f"the {GRAPHS['folded']} puts out class {classes[frame]} for recorded frame {frame}; expected "
            f"{scores[frame].argmax()}, whose score is the largest"
        )


def to_integer_scores(logits: npt.NDArray[np.floating], logit_scale: float) -> Integers:
    """Logits as the integers that they are times `logit_scale`. Raises VerificationError where they are not."""
    steps = logits.astype(np.float64) / logit_scale
    integers = np.rint(steps)
    miss = float(np.abs(steps - integers).max(initial=0.0))
    if not miss <= MAX_FRACTION:
        raise VerificationError(
            f"a recorded logit is {miss:.2f} of a step away from an integer times {logit_scale:g}; expected at most "
            f"{MAX_FRACTION}: the scale of FINN's scores is not the network's"
        )
    return integers.astype(np.int64)


def has_right_class(expected: Integers, found: Integers) -> npt.NDArray[np.bool_]:
    """Per frame (n,), whether the largest of `found` is where the largest of `expected` is, in a tie any of them."""
    chosen = np.take_along_axis(expected, found.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    right: npt.NDArray[np.bool_] = chosen == expected.max(axis=1)
    return right
