"""The export of networks that nobody trained: the same network each time, weights as training spreads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from workers.architecture_export import export_architecture, main
from workers.qonnx_export import ExportError, execute_qonnx


def architecture(weight_bits: int = 4) -> ArchitectureConfig:
    conv = Conv(out_channels=8, kernel_size=3, stride=2, weight_bit_width=weight_bits, activation_bit_width=4)
    separable = DepthwiseSeparable(
        kernel_size=3, stride=1, out_channels=8, weight_bit_width=weight_bits, activation_bit_width=4
    )
    last = Linear(out_features=24, weight_bit_width=weight_bits)
    return ArchitectureConfig(blocks=(InputQuantizer(), conv, separable, GlobalPool(), last), frame_length=32)


def float_weights(path: Path) -> list[np.ndarray]:
    """Of each MAC layer, as they are in front of its quantizer."""
    model = ModelWrapper(str(path))
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    arrays = [model.get_initializer(_float_source(model, node.input[1])) for node in layers]
    assert len(arrays) == 4
    return [array for array in arrays if array is not None]


def _float_source(model: ModelWrapper, tensor: str) -> str:
    producer = model.find_producer(tensor)
    return tensor if producer is None else _float_source(model, producer.input[0])


def test_same_architecture_gives_the_same_network_that_computes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for path in paths:
        export_architecture(architecture(), path)

    weights = [float_weights(path) for path in paths]
    assert all(np.array_equal(one, two) for one, two in zip(*weights, strict=True))
    scores = execute_qonnx(paths[0], np.random.default_rng(0).standard_normal((3, 2, 32)).astype(np.float32))
    assert scores.shape == (3, 24)
    assert np.unique(scores).size > 10


def test_most_weights_lie_far_below_the_largest_as_in_trained_networks(tmp_path: Path) -> None:
    """Of uniform weights, half lie above half of the largest; of normal ones, a few."""
    export_architecture(architecture(), tmp_path / "model.onnx")

    largest = max(float_weights(tmp_path / "model.onnx"), key=lambda array: array.size)
    assert np.mean(np.abs(largest) > 0.5 * np.abs(largest).max()) < 0.25


def test_network_with_float_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="the network has 32-bit weights or activations; expected at most 8 bits"):
        export_architecture(architecture(weight_bits=32), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_prepared_process_has_no_thread_and_no_lock_that_its_forks_would_share() -> None:
    script = (
        "import os, tqdm; from workers.architecture_export import prepare\n"
        "prepare(); print(len(os.listdir('/proc/self/task')), type(tqdm.tqdm.get_lock()).__name__)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "RLock"]


@pytest.mark.slow
def test_command_writes_the_file(tmp_path: Path) -> None:
    (tmp_path / "architecture.json").write_text(architecture().model_dump_json())
    command = [sys.executable, "-m", "workers.architecture_export"]

    subprocess.run([*command, tmp_path / "architecture.json", tmp_path / "model.onnx"], check=True)

    assert ModelWrapper(str(tmp_path / "model.onnx")).get_tensor_shape("global_in") in (None, [1, 2, 32])
    assert len(float_weights(tmp_path / "model.onnx")) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be exported: 1 validation error"), (None, "No such file or directory")],
)
def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    given = tmp_path / "architecture.json"
    if text is not None:
        given.write_text(text)

    assert main([str(given), str(tmp_path / "model.onnx")]) == 1

    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_missing_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["one"])
    assert "the following arguments are required: MODEL.onnx" in capsys.readouterr().err
