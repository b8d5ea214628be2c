"""A graph run on many frames gives what QONNX's own execution gives, tensor by tensor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from tests.fpga.exported_networks import BuiltNetwork

COMPARE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from in_finn import steps  # sets up FINN
import numpy as np
from finn.util.verification import despecialize_model
from in_finn.execution import GraphRunner
from in_finn.host_io import quantize_frame, read_host_io
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

build, exported = Path(sys.argv[2]), Path(sys.argv[3])
models = build / "output" / "intermediate_models"
streamlined = ModelWrapper(str(models / "step_make_integer_graph.onnx"))
folded = despecialize_model(ModelWrapper(str(models / "step_estimate_network.onnx")))
frame = np.load(exported / "proof.npz")["frames"][0]
given = quantize_frame(read_host_io(build / "output"), frame)
n_compared = 0
for model in (streamlined, folded):
    expected = execute_onnx(model, {model.graph.input[0].name: given}, return_full_exec_context=True)
    found = GraphRunner(model).run(given)
    for node in model.graph.node:
        for tensor in node.output:
            assert np.array_equal(found[tensor], expected[tensor]), f"{node.op_type} {node.name}"
            n_compared += 1
print("compared", n_compared, file=sys.__stdout__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "eight_bits"])
def test_each_tensor_is_what_qonnx_computes(
    name: str, finn: Finn, build_network: Callable[[str], BuiltNetwork], tmp_path: Path
) -> None:
    built = build_network(name)

    done = subprocess.run(
        [finn.python, "-c", COMPARE, IN_FINN.parent, built.folder, built.exported],
        env=make_finn_variables(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("compared ")[1].split()[0]) > 40
