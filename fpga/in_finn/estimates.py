"""FINN's estimates of a folded network: its layers only, and with FIFOs and width converters between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from finn.analysis.fpgadataflow.dataflow_performance import dataflow_performance
from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
from finn.analysis.fpgadataflow.res_estimation import res_estimation
from finn.transformation.fpgadataflow.annotate_cycles import AnnotateCycles
from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive
from finn.util.basic import part_map
from finn.util.platforms import platforms
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from .execution import GraphRunner
from .fifo_depths import BranchLayer, count_pixels_in_branch
from .network_report import BranchFifo, LayerEstimate, LayerWeights, NetworkReport, NetworkWeights, ResourceCounts

RESOURCES = {"lut": "LUT", "bram_18k": "BRAM_18K", "uram": "URAM", "dsp": "DSP"}
"""Our word and FINN's; it estimates no flip-flops."""

MAC_LAYERS = ("Conv", "Gemm", "MatMul")

PLATFORM_COLUMNS = ("lut", "ff", "bram_18k", "uram", "dsp")
"""Order of `finn.util.platforms.Platform.compute_resources`."""


@dataclass(frozen=True)
class SkipFifo:
    """The FIFO beside a residual branch."""

    fork: str
    """The layer's name."""
    output: int
    """Which one of the fork's."""
    depth: int
    """In words of the fork's stream."""


def estimate_network(model: ModelWrapper, part: str, clk_period_ns: float) -> NetworkReport:
    """What FINN estimates of a folded network of specialized layers, which stays as it is.

    The FIFOs beside residual branches have computed depths, all others those that FINN gives without simulation.
    """
    model = deepcopy(model).transform(GiveUniqueNodeNamesRecursive()).transform(AnnotateCycles())
    performance = model.analysis(dataflow_performance)
    skip_fifos = find_skip_fifos(model)
    connected = connect_layers(model, part, skip_fifos)
    converters, fifos = (
        [node for node in connected.graph.node if node.op_type.startswith(prefix)]
        for prefix in ("StreamingDataWidthConverter", "StreamingFIFO")
    )
    return NetworkReport(
        layers=describe_layers(model, part),
        layers_only=sum_resources(res_estimation(model, part).values()),
        with_fifos=sum_resources(res_estimation(connected, part).values()),
        n_width_converters=len(converters),
        n_fifos=len(fifos),
        skip_fifos=tuple(BranchFifo(fifo.fork, fifo.depth) for fifo in skip_fifos),
        bottleneck_layer=str(performance["max_cycles_node_name"]),
        bottleneck_cycles=int(performance["max_cycles"]),
        throughput_fps=1e9 / (clk_period_ns * int(performance["max_cycles"])),
        latency_us=int(performance["critical_path_cycles"]) * clk_period_ns / 1000,
        available=find_available(part),
    )


def connect_layers(model: ModelWrapper, part: str, skip_fifos: Sequence[SkipFifo]) -> ModelWrapper:
    """A copy with the data width converters and FIFOs that hardware needs between the layers."""
    connected = deepcopy(model)
    for fifo in skip_fifos:
        fork = getCustomOp(connected.get_node_from_name(fifo.fork))
        depths = list(fork.get_nodeattr("outFIFODepths"))
        depths[fifo.output] = fifo.depth
        fork.set_nodeattr("outFIFODepths", depths)
    for transformation in (
        InsertDWC(),
        InsertFIFO(create_shallow_fifos=True),
        SpecializeLayers(part),
        GiveUniqueNodeNamesRecursive(),
    ):
        connected = connected.transform(transformation)
    return connected


def find_skip_fifos(model: ModelWrapper) -> list[SkipFifo]:
    """One per fork with a branch straight to a sum and another through layers; `model` is folded, without FIFOs."""
    found = []
    for node in model.graph.node:
        if not node.op_type.startswith("DuplicateStreams"):
            continue
        fork, branches = getCustomOp(node), [_list_branch(model, output) for output in node.output]
        straight = [index for index, branch in enumerate(branches) if not branch]
        if len(branches) == 2 and len(straight) == 1:
            pixels = count_pixels_in_branch(_cycles_per_pixel(fork), _describe_branch(branches[1 - straight[0]]))
            depth = pixels * int(fork.get_folded_output_shape()[-2])
            found.append(SkipFifo(node.name, straight[0], depth))
    return found


def _list_branch(model: ModelWrapper, tensor: str) -> list[Any]:
    """The layers between a tensor and the next sum."""
    branch = []
    while (node := model.find_consumer(tensor)) is not None and not node.op_type.startswith("Elementwise"):
        branch.append(getCustomOp(node))
        tensor = node.output[0]
    return branch


def _describe_branch(branch: Sequence[Any]) -> list[BranchLayer]:
    described, n_padded = [], 0
    for layer in branch:
        lookahead = 0
        if layer.onnx_node.op_type.startswith("FMPadding"):
            n_padded = sum(layer.get_nodeattr("Padding")[:2])
        if layer.onnx_node.op_type.startswith("ConvolutionInputGenerator"):
            kernel, dilation = layer.get_nodeattr("ConvKernelDim"), layer.get_nodeattr("Dilation")
            reach = sum((size - 1) * step for size, step in zip(kernel, dilation, strict=True))
            lookahead, n_padded = reach - n_padded, 0
        described.append(BranchLayer(_cycles_per_pixel(layer), lookahead))
    return described


def _cycles_per_pixel(layer: Any) -> float:
    return float(layer.get_exp_cycles()) / int(np.prod(layer.get_normal_output_shape()[:-1]))


def describe_layers(model: ModelWrapper, part: str) -> tuple[LayerEstimate, ...]:
    """Name, folding, resources and cycles of each layer, in the order of the data."""
    resources, cycles = res_estimation(model, part), exp_cycles_per_layer(model)
    return tuple(
        LayerEstimate(
            name=node.name,
            **sum_resources([resources[node.name]]).to_json(),
            cycles=int(cycles[node.name]),
            pe=_read_folding(node, "PE"),
            simd=_read_folding(node, "SIMD"),
        )
        for node in model.graph.node
    )


def sum_resources(estimates: Iterable[dict[str, float]]) -> ResourceCounts:
    """The sum of FINN's estimates, under this project's names."""
    total = dict.fromkeys(RESOURCES, 0.0)
    for estimate in estimates:
        for name, finn_name in RESOURCES.items():
            total[name] += float(estimate.get(finn_name, 0))
    return ResourceCounts(**{name: round(value) for name, value in total.items()})


def find_available(part: str) -> ResourceCounts | None:
    """What the FPGA has, as in `finn.util.platforms`, all of its dies together; None where FINN does not know it."""
    boards = [board for board in platforms if part_map.get(board) == part]
    if not boards:
        return None
    dies = platforms[boards[0]]().compute_resources
    counts = (int(sum(column)) for column in zip(*dies, strict=True))
    return ResourceCounts(**dict(zip(PLATFORM_COLUMNS, counts, strict=True)))


def count_weights(qonnx: ModelWrapper) -> NetworkWeights:
    """Counts the weights of each MAC layer of the exported file, and its max pools."""
    constants = GraphRunner(qonnx).constants
    layers = []
    for node in qonnx.graph.node:
        if node.op_type not in MAC_LAYERS:
            continue
        quantizer = qonnx.find_producer(node.input[1])
        layers.append(
            LayerWeights(
                name=node.name,
                is_convolution=node.op_type == "Conv",
                n_weights=int(np.count_nonzero(constants[node.input[1]])),
                bits=int(constants[quantizer.input[3]].item()),
            )
        )
    return NetworkWeights(tuple(layers), len(qonnx.get_nodes_by_op_type("MaxPool")))


def _read_folding(node: object, name: str) -> int | None:
    layer = getCustomOp(node)
    return int(layer.get_nodeattr(name)) if name in layer.get_nodeattr_types() else None
