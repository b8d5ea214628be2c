"""The smallest folding that reaches a throughput.

FINN's own step stops at weight streams of 36 bits per PE, and gives a layer the first SIMD that is enough, whatever it
costs. Here the streams may be as wide as its layers take, and the cheapest folding of each matrix layer is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from finn.analysis.fpgadataflow.dataflow_performance import dataflow_performance
from finn.transformation.fpgadataflow.annotate_cycles import AnnotateCycles
from finn.transformation.fpgadataflow.set_folding import SetFolding, divisors
from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive
from finn.util.basic import MAX_ALLOWED_AP_INT_W
from finn.util.fpgadataflow import is_hls_node
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

MAX_WEIGHT_BITS_PER_PE = 8191
"""The widest word of HLS; FINN's default, 36, ends at half of what the rest of such networks reaches."""


MAX_FOLDS = 1024
"""Of the inputs of a matrix layer in HLS; its code generation refuses more."""


@dataclass(frozen=True)
class Bottleneck:
    """The slowest layer."""

    layer: str
    cycles: int
    """Clock cycles per frame."""


def fold_for_target(model: ModelWrapper, target_fps: int, clk_period_ns: float, part: str) -> ModelWrapper:
    """Folds specialized layers so that each takes at most 1e9 / (clk_period_ns * target_fps) cycles per frame.

    Where a layer cannot be that fast, all are folded for the throughput of the slowest one.
    """
    target_cycles = max(int(1e9 / (clk_period_ns * target_fps)), 1)
    folding = SetFolding(target_cycles, mvau_wwidth_max=MAX_WEIGHT_BITS_PER_PE, two_pass_relaxation=True)
    model = model.transform(folding).transform(GiveUniqueNodeNamesRecursive())
    target_cycles = max(target_cycles, find_bottleneck(model).cycles)
    for node in model.graph.node:
        if node.op_type.startswith("MVAU"):
            shrink_matrix_layer(getCustomOp(node), target_cycles, part)
    return model


def find_bottleneck(model: ModelWrapper) -> Bottleneck:
    """The layer that takes the most cycles per frame."""
    performance = model.transform(AnnotateCycles()).analysis(dataflow_performance)
    return Bottleneck(str(performance["max_cycles_node_name"]), int(performance["max_cycles"]))


def shrink_matrix_layer(layer: Any, target_cycles: int, part: str) -> None:
    """The PE and SIMD that cost least by FINN's estimate; its own search takes the first SIMD that is enough."""
    columns, rows = layer.get_nodeattr("MW"), layer.get_nodeattr("MH")
    given = layer.get_nodeattr("PE"), layer.get_nodeattr("SIMD")
    candidates = [
        (_measure(layer, pe, simd, part), pe, simd) for pe, simd in product(divisors(rows), divisors(columns))
    ]
    fitting = [
        (cost, pe * simd, (pe, simd) != given, pe, simd)
        for (cycles, stream_bits, cost), pe, simd in candidates
        if cycles <= target_cycles
        and (not is_hls_node(layer.onnx_node) or (stream_bits <= MAX_ALLOWED_AP_INT_W and columns <= MAX_FOLDS * simd))
    ]
    *_, pe, simd = min(fitting, default=(*given,))
    _set_folding(layer, pe, simd)


def _measure(layer: Any, pe: int, simd: int, part: str) -> tuple[int, int, tuple[float, ...]]:
    """Cycles per frame, bits of the weight stream, and cost: DSP first, then block RAM, then LUT."""
    _set_folding(layer, pe, simd)
    resources = layer.node_res_estimation(part)
    cost = tuple(float(resources[name]) for name in ("DSP", "BRAM_18K", "LUT"))
    return int(layer.get_exp_cycles()), int(layer.get_instream_width(1)), cost


def _set_folding(layer: Any, pe: int, simd: int) -> None:
    layer.set_nodeattr("PE", pe)
    layer.set_nodeattr("SIMD", simd)
