"""A build counts only when all its graphs give the network's integer scores."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.verification import GRAPHS, Verification, VerificationError, has_right_class, verify_outputs
from storage.hardware_reports import GraphAgreement
from tests.fpga.exported_networks import N_REFERENCE_FRAMES, BuiltNetwork

STEP = 0.1

DAMAGE_ONE_THRESHOLD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from in_finn import steps  # sets up FINN
import numpy as np
from in_finn.reference_vectors import NetworkForms, write_graph_outputs
from qonnx.core.modelwrapper import ModelWrapper

build, exported, index, written = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
models = build / "output" / "intermediate_models"
streamlined = ModelWrapper(str(models / "step_make_integer_graph.onnx"))
folded = ModelWrapper(str(models / "step_estimate_network.onnx"))
damaged = folded.get_nodes_by_op_type("Thresholding_rtl")[index].input[1]
folded.set_initializer(damaged, folded.get_initializer(damaged) + 40)
frames = np.load(exported / "proof.npz")["frames"]
host_io = json.loads((build / "output" / "host_io.json").read_text())
forms = NetworkForms(ModelWrapper(str(exported / "model.onnx")), streamlined, folded)
write_graph_outputs(written, frames, forms, host_io)
"""


def write_files(
    folder: Path,
    logits: np.ndarray,
    *,
    streamlined: np.ndarray | None = None,
    folded: np.ndarray | None = None,
    differs_in: str = "",
    classes: np.ndarray | None = None,
) -> tuple[Path, Path]:
    scores = np.rint(logits / STEP).astype(np.int64)
    np.savez(folder / "proof.npz", logits=logits)
    out = scores if folded is None else folded
    np.savez(
        folder / "outputs.npz",
        logit_scale=STEP,
        qonnx_scores=scores,
        qonnx_differs_in="",
        streamlined_scores=scores if streamlined is None else streamlined,
        streamlined_differs_in="",
        folded_scores=out,
        folded_classes=out.argmax(axis=-1) if classes is None else classes,
        folded_differs_in=differs_in,
    )
    return folder / "proof.npz", folder / "outputs.npz"


def make_scores(n_frames: int) -> np.ndarray:
    return np.random.default_rng(0).permuted(np.tile(np.arange(24), (n_frames, 1)), axis=1)


def test_equal_scores_are_counted_for_each_graph(tmp_path: Path) -> None:
    verification = verify_outputs(*write_files(tmp_path, STEP * make_scores(200)))

    assert verification == Verification(200, tuple(GraphAgreement(graph, 200, 200) for graph in GRAPHS))
    assert verification.n_classes_equal == 200


def test_one_frame_in_two_hundred_may_have_another_score_but_no_other_class(tmp_path: Path) -> None:
    scores = make_scores(200)
    other = scores.copy()
    other[7, scores[7].argmin()] += 1

    verification = verify_outputs(*write_files(tmp_path, STEP * scores, streamlined=other, folded=other))

    assert verification.agreements[-1] == GraphAgreement("folded", 199, 200)


def test_folded_graph_that_is_not_what_it_was_made_of_fails_the_build(tmp_path: Path) -> None:
    scores = make_scores(200)
    other = scores.copy()
    other[7, scores[7].argmin()] += 1

    with pytest.raises(
        VerificationError,
        match=r"^the folded graph gives other integer scores than the streamlined graph that it was made of on 1 of "
        r"200 recorded frames; expected none; the first layer that differs from the QONNX file is Conv_3 \(Quant_15\)$",
    ):
        verify_outputs(*write_files(tmp_path, STEP * scores, folded=other, differs_in="Conv_3 (Quant_15)"))


def test_two_frames_in_two_hundred_fail_the_build_and_the_layer_is_named(tmp_path: Path) -> None:
    scores = make_scores(200)
    other = scores.copy()
    other[:2] += 1

    with pytest.raises(
        VerificationError,
        match=r"the folded graph gives other integer scores than the trained network on 2 of 200 recorded frames; "
        r"expected at most 0.5%; the first layer that differs from the QONNX file is Conv_3",
    ):
        verify_outputs(*write_files(tmp_path, STEP * scores, folded=other, differs_in="Conv_3 (Quant_15)"))


def test_one_other_class_fails_the_build(tmp_path: Path) -> None:
    scores = make_scores(200)
    other = scores.copy()
    other[7, scores[7].argmin()] = 99

    with pytest.raises(VerificationError, match="another class than the trained network on 1 of 200 recorded frames"):
        verify_outputs(*write_files(tmp_path, STEP * scores, folded=other))


@pytest.mark.parametrize("wrong", [0, 24, -1])
def test_class_that_comes_out_must_have_the_largest_score(tmp_path: Path, wrong: int) -> None:
    scores = make_scores(200)
    scores[7] = np.arange(24)
    classes = scores.argmax(axis=1)
    classes[7] = wrong

    with pytest.raises(
        VerificationError, match=f"the folded graph puts out class {wrong} for recorded frame 7; expected 23, whose"
    ):
        verify_outputs(*write_files(tmp_path, STEP * scores, classes=classes))


def test_each_class_of_a_tie_is_right() -> None:
    expected = np.array([[3, 3, 1], [3, 4, 1]])

    assert has_right_class(expected, np.array([[9, 0, 0], [9, 0, 0]])).tolist() == [True, False]
    assert has_right_class(expected, np.array([[0, 9, 0], [0, 9, 0]])).tolist() == [True, True]
    assert has_right_class(expected, np.array([[0, 0, 9], [0, 0, 9]])).tolist() == [False, False]


def test_frames_without_scores_fail_the_build(tmp_path: Path) -> None:
    scores = make_scores(10)

    with pytest.raises(VerificationError, match=r"shape \(9, 24\) for 10 recorded frames"):
        verify_outputs(*write_files(tmp_path, STEP * scores, folded=scores[:9]))


def test_reference_vectors_without_frames_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"for 0 recorded frames"):
        verify_outputs(*write_files(tmp_path, np.zeros((0, 24))))


def test_logits_that_are_no_integers_of_the_scale_fail_the_build(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"0\.30 of a step away from an integer"):
        verify_outputs(*write_files(tmp_path, STEP * (make_scores(10) + 0.3)))


@pytest.mark.slow
@pytest.mark.parametrize(("index", "layer"), [(0, "Conv_0 (Quant_"), (3, "Conv_3 (Quant_")])
def test_layer_with_other_thresholds_is_named(
    index: int, layer: str, build_network: Callable[[str], BuiltNetwork], finn: Finn, tmp_path: Path
) -> None:
    built = build_network("residual")
    arguments = [str(IN_FINN.parent), str(built.folder), str(built.exported), str(index), str(tmp_path / "out.npz")]

    subprocess.run(
        [finn.python, "-c", DAMAGE_ONE_THRESHOLD, *arguments],
        check=True,
        capture_output=True,
        env=make_finn_variables(tmp_path),
    )

    outputs = np.load(tmp_path / "out.npz")
    assert len(outputs["folded_scores"]) == N_REFERENCE_FRAMES
    with pytest.raises(VerificationError, match="the folded graph gives other integer scores") as caught:
        verify_outputs(built.exported / "proof.npz", tmp_path / "out.npz")
    assert f"the first layer that differs from the QONNX file is {layer}" in str(caught.value)
