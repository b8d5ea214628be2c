"""The host's side of an FPGA: the same classes as the network's, from the integers that the graph gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpga.host_io import HostIo, HostIoError, read_host_io
from fpga.toolchain.finn import Finn
from fpga.verification import GRAPHS, verify_outputs
from storage.dataset.features import compute_features
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111, BuiltNetwork, build_exported

HOST_IO = HostIo(
    frame_shape=(2, 3),
    input_shape=(1, 3, 1, 2),
    input_layout="NHWC",
    input_datatype="INT2",
    input_scale=1.0,
    input_thresholds=np.array([-1.4, -0.5, 0.6]),
    input_offset=-2,
    output_kind="scores",
    output_shape=(1, 3),
    output_datatype="INT8",
    n_classes=3,
    logit_scale=0.5,
    logit_bias=0.25,
)


def test_frames_become_integers_with_channels_last() -> None:
    frames = np.array([[[-9, -1, 0], [0.6, 1, 9]]], np.float32)

    integers = HOST_IO.to_fpga_input(frames)

    assert integers.tolist() == [[[[-2, 1]], [[-1, 1]], [[0, 1]]]]


def test_scores_are_scaled_and_the_class_is_the_first_of_the_largest() -> None:
    outputs = np.array([[[3, 7, 7]], [[-2, -4, -6]]])

    assert HOST_IO.to_scores(outputs).tolist() == [[1.75, 3.75, 3.75], [-0.75, -1.75, -2.75]]
    assert HOST_IO.to_classes(outputs).tolist() == [1, 0]


def test_fpga_that_gives_classes_has_no_scores() -> None:
    of_classes = replace(HOST_IO, output_kind="class", output_shape=(1, 1))

    assert of_classes.to_classes(np.array([[2], [0]])).tolist() == [2, 0]
    with pytest.raises(HostIoError, match=r"this FPGA's output is the class; expected one built for scores"):
        of_classes.to_scores(np.array([[2]]))


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(HostIoError, match=r"frames have shape \(1, 3, 2\); expected \(n, 2, 3\)"):
        HOST_IO.to_fpga_input(np.zeros((1, 3, 2), np.float32))
    with pytest.raises(HostIoError, match=r"outputs have shape \(1, 2\); expected 3 per frame"):
        HOST_IO.to_classes(np.zeros((1, 2), np.int64))


def test_file_of_an_unfinished_build_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host_io.json").write_text(json.dumps({"logit_scale": 1.0}))

    with pytest.raises(HostIoError, match=r"host_io.json is no host_io.json of a finished build"):
        read_host_io(tmp_path / "host_io.json")


@pytest.mark.slow
def test_host_gets_the_recorded_classes_and_the_quantizers_integers(
    build_network: Callable[[str], BuiltNetwork],
) -> None:
    built = build_network("eight_bits")
    host_io = read_host_io(built.folder / "output" / "host_io.json")
    vectors, outputs = np.load(built.exported / "proof.npz"), np.load(built.output.recorded_outputs)

    scores = replace(host_io, output_kind="scores").to_scores(outputs["folded_scores"])
    integers = host_io.to_fpga_input(vectors["frames"])

    assert (host_io.output_kind, host_io.output_shape, host_io.input_datatype) == ("class", (1, 1), "INT8")
    assert (host_io.features, host_io.frame_shape) == ("power", (3, 1024))
    samples = vectors["frames"][:, :2]
    assert (compute_features(samples, host_io.features) == vectors["frames"]).all()
    assert np.abs(scores - vectors["logits"]).max() < 1e-9
    assert (scores.argmax(axis=1) == vectors["logits"].argmax(axis=1)).all()
    expected = np.clip(np.rint(vectors["frames"].astype(np.float64) / host_io.input_scale), -128, 127)
    assert (integers[:, :, 0] == np.moveaxis(expected, 1, 2)).all()


@pytest.mark.slow
def test_graph_whose_output_is_the_scores_is_verified_by_them(
    finn: Finn, export_network: Callable[[str], Path], tmp_path: Path
) -> None:
    network = export_network("residual")
    target = replace(ZCU111, output="scores")

    output = build_exported(finn, network, tmp_path, target, BuildLevel.ESTIMATE)

    host_io = read_host_io(tmp_path / "output" / "host_io.json")
    assert (host_io.output_kind, host_io.output_shape) == ("scores", (1, 24))
    assert host_io.output_datatype.startswith("INT")
    verification = verify_outputs(network / "proof.npz", output.recorded_outputs)
    assert [agreement.n_scores_equal for agreement in verification.agreements] == [200] * len(GRAPHS)
    layers = json.loads((output.report_folder / "network_report.json").read_text())["layers"]
    assert not any(layer["name"].startswith("LabelSelect") for layer in layers)
