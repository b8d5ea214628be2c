"""The RTL layers of a build, and what flows through them on recorded frames.

FINN's library may lie in a container, so its files are copied out of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finn.util.basic import part_map
from finn.util.settings import get_settings
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from .reference_vectors import open_folded
from .request import RtlRequest
from .rtl_layers import RtlLayer, RtlLayers, write_rtl_layers
from .rtl_words import pack_words

Layer = Any
"""FINN's own object of one layer; it has no types."""

MEMORY_WRAPPER = "_memstream_wrapper.v"


def write_layers_and_streams(request: RtlRequest) -> None:
    """Writes layers.json, and per RTL layer NAME.in.hex and NAME.out.hex.

    These are the words of its input and output stream for the first `n_frames` recorded frames, one after the other,
    as the folded graph computes them in Python: one word a line, the first value of a word in its lowest bits.
    """
    output_dir, folder = request.output_dir, request.folder
    model = ModelWrapper(str(output_dir / "intermediate_models" / "step_hw_codegen.onnx"))
    layers = [describe_layer(node, request.generated, folder / "library") for node in model.graph.node]
    host_io = json.loads((output_dir / "host_io.json").read_text())
    with np.load(request.reference_vectors, allow_pickle=False) as recorded:
        frames = recorded["frames"][: request.n_frames]  # (n, channels, length)
    graph = open_folded(model, host_io)
    run = graph.make_runner()
    activations = [run(frame) for frame in frames]
    for node, layer in zip(model.graph.node, layers, strict=True):
        if layer.top is not None:
            for end, words in make_streams(node, model, activations).items():
                (folder / f"{node.name}.{end}.hex").write_text("".join(f"{word}\n" for word in words))
    write_rtl_layers(folder, RtlLayers(part_map[request.board], len(frames), tuple(layers)))


def describe_layer(node: NodeProto, generated: Path, copies: Path) -> RtlLayer:
    """Name, FINN's operator, and of an RTL layer its Verilog files with the top module, and its weight memory's.

    Files of FINN's library are copied to the folder `copies`.
    """
    if not node.op_type.endswith("_rtl"):
        return RtlLayer(node.name, node.op_type)
    layer = getCustomOp(node)
    folder = generated / Path(layer.get_nodeattr("code_gen_dir_ipgen")).name  # also where the build was moved to
    layer.set_nodeattr("code_gen_dir_ipgen", str(folder))
    memories = sorted(folder.glob("*" + MEMORY_WRAPPER))
    library = Path(get_settings().finn_rtllib)
    memory_files = [library / "axi/hdl/axilite.sv", *sorted((library / "memstream/hdl").glob("memstream*.sv"))]
    files = [Path(path) for path in layer.get_rtl_file_list(abspath=True)]
    return RtlLayer(
        name=node.name,
        operator=node.op_type,
        top=layer.get_nodeattr("gen_top_module"),
        files=tuple(keep_file(path, library, copies) for path in files),
        memory_top=memories[0].stem if memories else None,
        memory_files=tuple(keep_file(path, library, copies) for path in (*memory_files, *memories) if memories),
        data_files=tuple(sorted(folder.glob("*.dat"))),
        in_bits=int(layer.get_instream_width_padded(0)),
        out_bits=int(layer.get_outstream_width_padded(0)),
        payload_bits=int(layer.get_outstream_width(0)),
    )


def keep_file(path: Path, library: Path, copies: Path) -> Path:
    """The file itself, or its copy where it is the library's."""
    if not path.resolve().is_relative_to(library.resolve()):
        return path
    copy = copies / path.resolve().relative_to(library.resolve())
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return copy


def make_streams(
    node: NodeProto, model: ModelWrapper, activations: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, list[str]]:
    """The words of the input stream "in" and the output stream "out", all frames one after the other."""
    layer = getCustomOp(node)
    taken = [frame[node.input[0]].reshape(layer.get_folded_input_shape()) for frame in activations]
    given = [order_output(layer, frame[node.output[0]]) for frame in activations]
    return {
        "in": pack_words(np.stack(taken), layer.get_input_datatype().bitwidth()),
        "out": pack_words(np.stack(given), layer.get_output_datatype().bitwidth()),
    }


def order_output(layer: Layer, values: np.ndarray) -> np.ndarray:
    """In the order in which hardware gives them: windows for a depthwise convolution come channels first."""
    shape = layer.get_folded_output_shape()
    if not layer.onnx_node.op_type.startswith("ConvolutionInputGenerator") or not layer.get_nodeattr("depthwise"):
        return values.reshape(shape)
    kernel, simd = int(np.prod(layer.get_nodeattr("ConvKernelDim"))), layer.get_nodeattr("SIMD")
    windows = values.reshape(-1, kernel, layer.get_nodeattr("IFMChannels") // simd, simd)
    return windows.transpose(0, 2, 1, 3).reshape(shape)
