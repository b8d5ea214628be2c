"""What a host has to do for the FPGA, written to host_io.json, whose reader says what is in it: fpga/host_io.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper

from .integer_graph import IntegerNetwork
from .json_files import write_json
from .thresholds import find_sample_thresholds

OUTPUT_KINDS = ("class", "scores")


def write_host_io(folder: Path, network: IntegerNetwork, output_kind: str, features: str) -> None:
    """All that is known before the layers have their bit widths. `features` is what the frames hold of the samples."""
    quantizer = network.input_quantizer
    _, length, _, channels = network.model.get_tensor_shape(network.model.graph.input[0].name)
    write_json(
        folder / "host_io.json",
        {
            "frame_shape": [channels, length],
            "features": features,
            "input_scale": quantizer.scale,
            "input_thresholds": find_sample_thresholds(quantizer.scale, quantizer.lowest, quantizer.highest),
            "input_offset": quantizer.lowest,
            "output_kind": output_kind,
            "n_classes": network.model.get_tensor_shape(network.model.graph.output[0].name)[-1],
            "logit_scale": network.logit_scale,
            "logit_bias": 0.0,
        },
    )


def write_final_types(folder: Path, model: ModelWrapper) -> None:
    """Shapes, layout and types of input and output of the finished graph."""
    described: dict[str, object] = {}
    for end, tensor in (("input", model.graph.input[0].name), ("output", model.graph.output[0].name)):
        described[f"{end}_shape"] = list(model.get_tensor_shape(tensor))
        described[f"{end}_datatype"] = model.get_tensor_datatype(tensor).name
    described["input_layout"] = "NHWC"
    write_json(folder / "host_io.json", read_host_io(folder) | described)


def read_host_io(folder: Path) -> dict[str, Any]:
    """What was written so far."""
    values: dict[str, Any] = json.loads((folder / "host_io.json").read_text())
    return values


def quantize_frame(host_io: Mapping[str, Any], frame: np.ndarray) -> np.ndarray:
    """A frame (channels, length) as the FPGA's input (1, length, 1, channels), integers as float32."""
    integers = np.searchsorted(host_io["input_thresholds"], frame, side="right") + host_io["input_offset"]
    quantized: np.ndarray = integers.T[np.newaxis, :, np.newaxis, :].astype(np.float32)
    return quantized
