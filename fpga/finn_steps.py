"""The ordered steps from a QONNX file to a hardware report; runs inside FINN's own environment.

Called as `python finn_steps.py REQUEST.json`, or with `--check-imports` to load FINN and stop. Imports nothing of this
project but the files beside it that run there as well, finn_*.py. The order of the transformations was found by trial
with FINN+ 1.6.1: the stock steps leave residual sums and chained pools unmapped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import finn.xsi
import numpy as np
from onnx import helper

if os.environ.get("FINN_WITH_VIVADO"):
    finn.xsi.ensure_available()
else:
    finn.xsi.SimEngine = None  # importing the builder asks for the simulator of Vivado, which estimates do not need

from finn.builder.build_dataflow import build_dataflow_cfg
from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType, ShellFlowType
from finn.builder.build_dataflow_steps import build_dataflow_step_lookup
from finn.transformation.streamline import Streamline, absorb, reorder
from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
from finn.util.basic import alveo_part_map, part_map
from finn_estimates import count_weights, estimate_network
from finn_folding import fold_for_target
from finn_proof import write_proof
from finn_sweep import sweep_foldings
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation
from qonnx.transformation.change_3d_tensors_to_4d import Change3DTo4DTensors
from qonnx.transformation.general import RemoveUnusedTensors
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.insert_topk import InsertTopK
from qonnx.util.basic import get_by_name

ESTIMATE_STEPS = (
    "step_qonnx_to_finn",
    "step_tidy_up",
    "step_make_tensors_4d",
    "step_streamline",
    "step_streamline_residuals",
    "step_insert_top_class",
    "step_move_input_quantizer_to_host",
    "step_convert_to_hw",
    "step_minimize_bit_width_initial",
    "step_create_dataflow_partition",
    "step_check_partition",
    "step_specialize_layers",
    "step_fold_for_target",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_widen_binary_weights",
    "step_generate_estimate_reports",
    "step_estimate_network",
    "step_run_recorded_frames",
)

STEPS_OF_LEVEL = {
    "estimate": ESTIMATE_STEPS,
    "codegen": ("step_hw_codegen",),
    "stitched_ip": ("step_hw_ipgen", "step_set_fifo_depths", "step_create_stitched_ip"),
    "out_of_context_synth": ("step_out_of_context_synthesis",),
    "bitfile": ("step_prepare_synthesis", "step_synthesize_bitfile", "step_make_driver", "step_deployment_package"),
}
"""How far a build goes, in this order, and what each level adds: numbers, HLS and RTL sources, one IP core, its
synthesis by itself, the FPGA. From stitched_ip on they need Vivado and Vitis HLS, and are untested: written from FINN's
source.
"""

OUTPUTS_OF_LEVEL = {
    "estimate": (DataflowOutputType.ESTIMATE_REPORTS,),
    "stitched_ip": (DataflowOutputType.STITCHED_IP,),
    "out_of_context_synth": (DataflowOutputType.OOC_SYNTH,),
    "bitfile": (DataflowOutputType.BITFILE, DataflowOutputType.PYNQ_DRIVER, DataflowOutputType.DEPLOYMENT_PACKAGE),
}
"""What FINN is told to make; a step whose product is not asked for does nothing."""

BuildStep = Callable[[ModelWrapper, DataflowBuildConfig], ModelWrapper]


class BuildRequestError(Exception):
    """What was asked cannot be built; the message says what is allowed."""


class UnmappedLayerError(Exception):
    """Part of the network would not be on the FPGA, or not in integers."""


def run_steps(request: dict[str, Any]) -> int:
    """Run the steps of one build that are not finished yet; 0, or 1 with failure.json in the output folder.

    `request` has model, output_dir, board, clk_period_ns, target_fps, level and parent_pid. With proof, its recorded
    frames are run; without it nothing comes behind the estimate. With sweep_targets_fps, the network is folded for each
    of these instead of being built. The models that the finished steps left, in this output folder and of this file's
    steps, are where it goes on.
    """
    output_dir = Path(str(request["output_dir"]))
    (output_dir / "failure.json").unlink(missing_ok=True)
    try:
        check_request(request)
    except BuildRequestError as error:
        _write_json(output_dir / "failure.json", {"step": "request", "error": str(error), "is_of_network": False})
        return 1
    ModelWrapper.save = _save_by_rename
    levels = _levels_up_to(str(request["level"]))
    steps = list_steps(request, levels)
    n_finished = count_finished_steps(output_dir, steps)
    for name in steps[:n_finished]:
        print(f"Finished before and not repeated: {name}")
    if n_finished == len(steps):
        return 0
    config = DataflowBuildConfig(
        output_dir=str(output_dir),
        board=str(request["board"]),
        synth_clk_period_ns=float(str(request["clk_period_ns"])),
        target_fps=int(str(request["target_fps"])),
        standalone_thresholds=True,
        generate_outputs=[output for level in levels for output in OUTPUTS_OF_LEVEL.get(level, ())],
        shell_flow_type=_find_shell_flow(str(request["board"])) if "bitfile" in levels else None,
        steps=[_note_failure(_find_step(name, request)) for name in steps],
        start_step=steps[n_finished] if n_finished else None,
    )
    model = "" if n_finished else str(request["model"])
    return 0 if build_dataflow_cfg(model, config) == 0 else 1


def list_steps(request: dict[str, Any], levels: Sequence[str]) -> list[str]:
    """The names of all steps of a request, in order."""
    steps = [name for level in levels for name in STEPS_OF_LEVEL[level]]
    if "sweep_targets_fps" in request:
        return [*steps[: steps.index("step_fold_for_target")], "step_sweep_foldings"]
    return steps if request.get("proof") else steps[: steps.index("step_estimate_network") + 1]


def count_finished_steps(output_dir: Path, steps: Sequence[str]) -> int:
    """How many of the steps, from the first on, left their model: it is written last, and by rename."""
    models = [output_dir / "intermediate_models" / f"{name}.onnx" for name in steps]
    return next((index for index, model in enumerate(models) if not model.is_file()), len(steps))


def check_request(request: dict[str, Any]) -> None:
    """Raises BuildRequestError where FINN would fail late, or not say what it misses."""
    if request["board"] not in part_map:
        raise BuildRequestError(f"board is {request['board']}; expected one of {', '.join(sorted(part_map))}")
    if request["level"] not in STEPS_OF_LEVEL:
        raise BuildRequestError(f"level is {request['level']}; expected one of {', '.join(STEPS_OF_LEVEL)}")
    try:
        ModelWrapper(str(request["model"]))
    except Exception as error:  # whatever a broken file makes protobuf and onnx raise
        raise BuildRequestError(f"model is {request['model']}, which is no readable ONNX file: {error}") from error


def step_make_tensors_4d(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """(batch, channels, length) becomes (batch, channels, length, 1), as FINN's convolutions need it."""
    model = model.transform(Change3DTo4DTensors())
    for node in model.get_nodes_by_op_type("MultiThreshold"):
        threshold = getCustomOp(node)
        if threshold.get_nodeattr("data_layout") in ("NCW", "NWC"):
            threshold.set_nodeattr("data_layout", "NCHW")
    for node in model.get_nodes_by_op_type("MaxPool"):
        for attribute in node.attribute:  # Change3DTo4DTensors leaves one-element dilations as they are
            if attribute.name == "dilations" and len(attribute.ints) == 1:
                attribute.ints.append(1)
    return _transform(model, InferShapes(), InferDataTypes(), InferDataLayouts())


def step_streamline_residuals(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """Move scales past forks and sums, and transposes out of the residual branches and pools."""
    model = _transform(model, reorder.MoveLinearPastFork(), reorder.MoveLinearPastEltwiseAdd(), Streamline())
    model = _make_pools_channels_last(model)
    n_sums = len(model.get_nodes_by_op_type("Add"))
    for _ in range(n_sums + 1):  # each pass frees the branches of one more sum
        model = _transform(
            model,
            reorder.MoveTransposePastFork(),
            absorb.AbsorbTransposeIntoMultiThreshold(),
            absorb.AbsorbConsecutiveTransposes(),
            reorder.MoveTransposePastJoinAdd(),
            absorb.AbsorbTransposeIntoMultiThreshold(),
            absorb.AbsorbConsecutiveTransposes(),
        )
    return _transform(
        model,
        absorb.AbsorbTransposeIntoFlatten(),
        Streamline(),
        InferDataLayouts(),
        RemoveUnusedTensors(),
        RoundAndClipThresholds(),
    )


def step_insert_top_class(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """The output becomes the class of the largest score; the scale of the scores is kept in host_io.json."""
    scale = 1.0
    last = model.find_producer(model.graph.output[0].name)
    if last.op_type == "Mul":
        scale = float(np.asarray(model.get_initializer(last.input[1])).item())
    _write_json(Path(str(config.output_dir)) / "host_io.json", {"logit_scale": scale})
    return _transform(model, InsertTopK(k=1), absorb.AbsorbScalarMulAddIntoTopK(), InferShapes(), InferDataTypes())


def step_move_input_quantizer_to_host(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """The input becomes integers (1, length, 1, channels); the host counts thresholds, kept in host_io.json."""
    first = model.find_consumer(model.graph.input[0].name)
    if first.op_type == "Transpose":
        first = model.find_consumer(first.output[0])
    if first.op_type != "MultiThreshold":
        raise BuildRequestError(f"the first layer is {first.op_type}; expected a quantizer of the input")
    _write_host_quantizer(model, first, Path(str(config.output_dir)) / "host_io.json")
    last_removed = first
    following = model.find_consumer(first.output[0])
    if following is not None and following.op_type == "Transpose":
        last_removed = following
    datatype = model.get_tensor_datatype(first.output[0])
    _cut_input(model, last_removed.output[0])
    model.set_tensor_datatype(model.graph.input[0].name, datatype)
    return _transform(model, InferShapes(), InferDataTypes(), InferDataLayouts())


def step_check_partition(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """All of the network lies in the accelerator, in integers; FINN itself only warns. Raises UnmappedLayerError."""
    parent = ModelWrapper(str(Path(str(config.output_dir)) / "intermediate_models" / "dataflow_parent.onnx"))
    left_out = [node.name for node in parent.graph.node if node.op_type != "StreamingDataflowPartition"]
    outputs = [tensor for node in model.graph.node for tensor in node.output]
    floats = [tensor for tensor in outputs if model.get_tensor_datatype(tensor).name == "FLOAT32"]
    if left_out or floats:
        raise UnmappedLayerError(f"layers outside of the accelerator: {left_out}; float tensors in it: {floats}")
    return model


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


def step_fold_for_target(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
    """The smallest folding that reaches target_fps. Raises UnreachableTargetError."""
    return fold_for_target(model, config.target_fps, config.synth_clk_period_ns, config._resolve_fpga_part())


def make_step_estimate_network(qonnx: Path) -> BuildStep:
    """The step that sums up what FINN estimates, and what the formulas need to know of the network."""

    def step_estimate_network(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
        """Write network_report.json beside FINN's reports; the model stays as it is."""
        report = estimate_network(model, config._resolve_fpga_part(), config.synth_clk_period_ns)
        weights = count_weights(ModelWrapper(str(qonnx)))
        _write_json(Path(str(config.output_dir)) / "report" / "network_report.json", report | {"weights": weights})
        return model

    return step_estimate_network


def make_step_sweep_foldings(targets_fps: Sequence[int]) -> BuildStep:
    """The step that folds the network for several throughputs."""

    def step_sweep_foldings(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
        """Write what FINN estimates of each folding to sweep.json; the model stays as it is."""
        minimize = build_dataflow_step_lookup["step_minimize_bit_width"]
        points = sweep_foldings(
            model,
            targets_fps,
            config.synth_clk_period_ns,
            config._resolve_fpga_part(),
            lambda folded: step_widen_binary_weights(minimize(folded, config), config),
        )
        _write_json(Path(str(config.output_dir)) / "sweep.json", {"points": points})
        return model

    return step_sweep_foldings


def make_step_run_recorded_frames(qonnx: Path, proof: Path) -> BuildStep:
    """The step that runs the recorded frames, for comparison with the trained network."""

    def step_run_recorded_frames(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
        """Write what the graphs give for each frame to recorded_outputs.npz; the model stays as it is."""
        output_dir = Path(str(config.output_dir))
        streamlined = ModelWrapper(str(output_dir / "intermediate_models" / "step_insert_top_class.onnx"))
        host_io = json.loads((output_dir / "host_io.json").read_text())
        with np.load(proof, allow_pickle=False) as recorded:
            frames = recorded["frames"]  # (n, channels, length)
        outputs = output_dir / "recorded_outputs.npz"
        write_proof(outputs, frames, ModelWrapper(str(qonnx)), streamlined, model, host_io)
        return model

    return step_run_recorded_frames


OWN_STEPS: dict[str, BuildStep] = {
    step.__name__: step
    for step in (
        step_make_tensors_4d,
        step_streamline_residuals,
        step_insert_top_class,
        step_move_input_quantizer_to_host,
        step_check_partition,
        step_fold_for_target,
        step_widen_binary_weights,
    )
}


def _levels_up_to(level: str) -> list[str]:
    levels = list(STEPS_OF_LEVEL)
    return levels[: levels.index(level) + 1]


def _find_shell_flow(board: str) -> ShellFlowType:
    return ShellFlowType.VITIS_ALVEO if board in alveo_part_map else ShellFlowType.VIVADO_ZYNQ


def _save_by_rename(model: ModelWrapper, filename: str | Path) -> None:
    """In place of ModelWrapper.save: a file under its name is whole, also when FINN was killed while writing it."""
    path = Path(filename)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(model.model.SerializeToString())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _find_step(name: str, request: dict[str, Any]) -> BuildStep:
    model = Path(str(request["model"]))
    if name == "step_estimate_network":
        return make_step_estimate_network(model)
    if name == "step_sweep_foldings":
        return make_step_sweep_foldings(request["sweep_targets_fps"])
    if name == "step_run_recorded_frames":
        return make_step_run_recorded_frames(model, Path(str(request["proof"])))
    step: BuildStep = OWN_STEPS.get(name) or build_dataflow_step_lookup[name]
    return step


def _note_failure(step: BuildStep) -> BuildStep:
    """The same step, which leaves failure.json behind: FINN's log loses the text of some exceptions."""

    def noting_step(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
        try:
            return step(model, config)
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            failure = {
                "step": step.__name__,
                "error": f"{type(error).__name__}: {text}",
                "is_of_network": not isinstance(error, (OSError, MemoryError)),
            }
            _write_json(Path(str(config.output_dir)) / "failure.json", failure)
            raise

    noting_step.__name__ = step.__name__
    return noting_step


def _transform(model: ModelWrapper, *transformations: Transformation) -> ModelWrapper:
    for transformation in transformations:
        model = model.transform(transformation)
    return model


def _make_pools_channels_last(model: ModelWrapper) -> ModelWrapper:
    """MaxPool becomes MaxPoolNHWC between transposes; FINN's MakeMaxPoolNHWC breaks a graph that forks behind one."""
    for pool in model.get_nodes_by_op_type("MaxPool"):
        batch, channels, length, width = model.get_tensor_shape(pool.input[0])
        pooled_length = model.get_tensor_shape(pool.output[0])[2]
        before = model.make_new_valueinfo_name()
        model.set_tensor_shape(before, (batch, length, width, channels))
        after = model.make_new_valueinfo_name()
        model.set_tensor_shape(after, (batch, pooled_length, width, channels))
        nodes = (
            helper.make_node("Transpose", [pool.input[0]], [before], perm=[0, 2, 3, 1]),
            helper.make_node(
                "MaxPoolNHWC",
                [before],
                [after],
                domain="qonnx.custom_op.general",
                **{name: list(get_by_name(pool.attribute, name).ints) for name in ("kernel_shape", "pads", "strides")},
            ),
            helper.make_node("Transpose", [after], [pool.output[0]], perm=[0, 3, 1, 2]),
        )
        index = list(model.graph.node).index(pool)
        model.graph.node.remove(pool)
        for offset, node in enumerate(nodes):
            model.graph.node.insert(index + offset, node)
    return _transform(model, InferDataLayouts(), InferDataTypes())


def _write_host_quantizer(model: ModelWrapper, node: object, path: Path) -> None:
    threshold = getCustomOp(node)
    host_io = json.loads(path.read_text()) | {
        "input_thresholds": np.sort(model.get_initializer(threshold.onnx_node.input[1]).ravel()).tolist(),
        "input_offset": threshold.get_nodeattr("out_bias"),
    }
    _write_json(path, host_io)


def _cut_input(model: ModelWrapper, tensor: str) -> None:
    """Make `tensor` the input of the graph and drop the nodes before it."""
    producer = model.find_producer(tensor)
    while producer is not None:
        before = model.find_producer(producer.input[0])
        model.graph.node.remove(producer)
        producer = before
    value_info = model.get_tensor_valueinfo(tensor)
    model.graph.input.pop(0)
    model.graph.input.insert(0, value_info)
    model.graph.value_info.remove(value_info)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2))
    partial.replace(path)


def _die_with(parent_pid: int) -> None:
    """Kills this process group when the worker that started it is gone, also after its `kill -9`."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(0.5)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__" and sys.argv[1:] != ["--check-imports"]:
    build_request = json.loads(Path(sys.argv[1]).read_text())
    if os.getppid() != 0:  # first in a container, which ends with its worker by container.py
        _die_with(build_request["parent_pid"])
    sys.exit(run_steps(build_request))
