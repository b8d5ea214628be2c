"""Verification of the folded graph looks at the bits of its streams, too, which Python's floats do not have."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from storage.records import BuildLevel
from tests.fpga.exported_networks import build_exported

RUN_WITH_NARROW_SUMS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from in_finn import steps  # sets up FINN
import numpy as np
from in_finn.host_io import read_host_io
from in_finn.reference_vectors import BitWidthError, NetworkForms, write_graph_outputs
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

build, exported, output_type = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
models = build / "output" / "intermediate_models"
streamlined = ModelWrapper(str(models / "step_make_integer_graph.onnx"))
folded = ModelWrapper(str(models / "step_estimate_network.onnx"))
(first, *_) = (node for node in folded.graph.node if node.op_type.startswith("MVAU"))
if output_type:
    getCustomOp(first).set_nodeattr("outputDataType", output_type)
frames = np.load(exported / "proof.npz")["frames"]
qonnx, host_io = ModelWrapper(str(exported / "model.onnx")), read_host_io(build / "output")
try:
    write_graph_outputs(Path(sys.argv[5]), frames, NetworkForms(qonnx, streamlined, folded), host_io)
except BitWidthError as error:
    print(error, file=sys.__stdout__)
"""


@pytest.mark.slow
def test_sums_beyond_the_bits_of_their_stream_are_an_error(
    export_tiny: Callable[[int], Path], finn: Finn, tmp_path: Path
) -> None:
    exported, build = export_tiny(0), tmp_path / "build"
    build_exported(finn, exported, build, level=BuildLevel.ESTIMATE)
    said = [
        subprocess.run(
            [
                finn.python,
                "-c",
                RUN_WITH_NARROW_SUMS,
                IN_FINN.parent,
                build,
                exported,
                output_type,
                tmp_path / "p",
            ],
            env=make_finn_variables(tmp_path),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for output_type in ("", "INT5")
    ]

    assert "MVAU" not in said[0]
    assert (tmp_path / "p").is_file()
    (line,) = (line for line in said[1].splitlines() if line.startswith("MVAU"))
    assert " has values from -" in line
    assert line.endswith("; expected those of INT5, -16 to 15")
