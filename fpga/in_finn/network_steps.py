"""The steps among FINN's that are this project's own, from the QONNX file to estimate and recorded outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.builder.build_dataflow_steps import build_dataflow_step_lookup
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.insert_topk import InsertTopK

from .estimates import count_weights, estimate_network
from .folding import fold_for_target
from .host_io import read_host_io, write_final_types, write_host_io
from .integer_graph import make_integer_network
from .json_files import write_json
from .reference_vectors import NetworkForms, write_graph_outputs
from .request import StepsRequest
from .sweep import sweep_foldings

BuildStep = Callable[[ModelWrapper, DataflowBuildConfig], ModelWrapper]


class UnmappedLayerError(Exception):
    """Part of the network would not be on the FPGA, or not in integers."""


def make_own_steps(request: StepsRequest) -> dict[str, BuildStep]:
    """Those of one request, by name."""
    asks_nothing = (
        step_check_partition,
        step_fold_for_target,
        step_widen_binary_weights,
        step_describe_host_side,
    )
    asks_request = (
        step_make_integer_graph,
        step_insert_output,
        step_estimate_network,
        step_run_recorded_frames,
        step_sweep_foldings,
    )
    of_request: dict[str, BuildStep] = {step.__name__: partial(step, request=request) for step in asks_request}
    return {step.__name__: step for step in asks_nothing} | of_request


def step_make_integer_graph(model: ModelWrapper, config: DataflowBuildConfig, request: StepsRequest) -> ModelWrapper:
    """The QONNX file in integers, thresholds exact; what the host does is in host_io.json."""
    network = make_integer_network(model)
    write_host_io(_folder(config), network, request.output, model.get_metadata_prop("features") or "iq")
    return network.model


def step_insert_output(model: ModelWrapper, config: DataflowBuildConfig, request: StepsRequest) -> ModelWrapper:
    """The class of the largest score behind the scores, where the output is to be the class."""
    if request.output == "scores":
        return model
    for transformation in (InsertTopK(k=1), InferShapes(), InferDataTypes()):
        model = model.transform(transformation)
    return model


def step_estimate_network(model: ModelWrapper, config: DataflowBuildConfig, request: StepsRequest) -> ModelWrapper:
    """Write network_report.json beside FINN's reports; the model stays as it is."""
    report = estimate_network(model, config._resolve_fpga_part(), config.synth_clk_period_ns)
    report = replace(report, weights=count_weights(ModelWrapper(str(request.model))))
    write_json(_folder(config) / "report" / "network_report.json", report.to_json())
    return model


def step_run_recorded_frames(model: ModelWrapper, config: DataflowBuildConfig, request: StepsRequest) -> ModelWrapper:
    """Write what the graphs give for each frame to recorded_outputs.npz; the model stays as it is."""
    assert request.reference_vectors is not None  # else this step is not among those of the request
    folder = _folder(config)
    with np.load(request.reference_vectors, allow_pickle=False) as recorded:
        frames = recorded["frames"]  # (n, channels, length)
    forms = NetworkForms(
        qonnx=ModelWrapper(str(request.model)),
        streamlined=ModelWrapper(str(folder / "intermediate_models" / "step_make_integer_graph.onnx")),
        folded=model,
    )
    write_graph_outputs(folder / "recorded_outputs.npz", frames, forms, read_host_io(folder))
    return model


def step_sweep_foldings(model: ModelWrapper, config: DataflowBuildConfig, request: StepsRequest) -> ModelWrapper:
    """Write what FINN estimates of each folding to sweep.json; the model stays as it is."""
    minimize = build_dataflow_step_lookup["step_minimize_bit_width"]
    foldings = sweep_foldings(
        model,
        request.sweep_targets_fps,
        config.synth_clk_period_ns,
        config._resolve_fpga_part(),
        lambda folded: step_widen_binary_weights(minimize(folded, config), config),
    )
    write_json(_folder(config) / "sweep.json", {"points": [folding.to_json() for folding in foldings]})
    return model


def step_check_partition(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """All of the network lies in the accelerator, in integers; FINN itself only warns. Raises UnmappedLayerError."""
    parent = ModelWrapper(str(_folder(config) / "intermediate_models" / "dataflow_parent.onnx"))
    left_out = [node.name for node in parent.graph.node if node.op_type != "StreamingDataflowPartition"]
    outputs = [tensor for node in model.graph.node for tensor in node.output]
    floats = [tensor for tensor in outputs if model.get_tensor_datatype(tensor).name == "FLOAT32"]
    if left_out or floats:
        raise UnmappedLayerError(f"layers outside of the accelerator: {left_out}; float tensors in it: {floats}")
    return model


def step_fold_for_target(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """The smallest folding that reaches target_fps, or as much as the slowest layer allows."""
    return fold_for_target(model, config.target_fps, config.synth_clk_period_ns, config._resolve_fpga_part())


def step_widen_binary_weights(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """Weights that are all 0 or 1, as pruning can leave them, get two bits: FINN's HLS layers take no binary ones."""
    for node in model.graph.node:
        if not node.op_type.startswith(("MVAU", "VVAU")):
            continue
        layer = getCustomOp(node)
        if layer.get_nodeattr("weightDataType") == "BINARY":
            layer.set_nodeattr("weightDataType", "INT2")
            model.set_tensor_datatype(node.input[1], DataType["INT2"])
    return model


def step_describe_host_side(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """Complete host_io.json; the model stays as it is."""
    write_final_types(_folder(config), model)
    return model


def _folder(config: DataflowBuildConfig) -> Path:
    return Path(str(config.output_dir))
