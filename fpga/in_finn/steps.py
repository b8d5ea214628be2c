"""The driver of FINN's steps from a QONNX file to a hardware report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import finn.xsi

if os.environ.get("FINN_WITH_VIVADO"):
    finn.xsi.ensure_available()
else:
    finn.xsi.SimEngine = None  # importing the builder asks for the simulator of Vivado, which estimates do not need

from finn.builder.build_dataflow import build_dataflow_cfg
from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType, ShellFlowType
from finn.builder.build_dataflow_steps import build_dataflow_step_lookup
from finn.util.basic import alveo_part_map, part_map
from qonnx.core.modelwrapper import ModelWrapper

from .host_io import OUTPUT_KINDS
from .network_steps import BuildStep, make_own_steps
from .request import StepsRequest
from .step_failure import FAILURE_FILE, REQUEST, StepFailure, write_failure

ESTIMATE_STEPS = (
    "step_make_integer_graph",
    "step_insert_output",
    "step_convert_to_hw",
    "step_minimize_bit_width_initial",
    "step_create_dataflow_partition",
    "step_check_partition",
    "step_specialize_layers",
    "step_fold_for_target",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_widen_binary_weights",
    "step_describe_host_side",
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


class BuildRequestError(Exception):
    """What was asked cannot be built; the message says what is allowed."""


def run_steps(request: StepsRequest) -> int:
    """Runs the steps of one build that are not finished yet; 0, or 1 with failure.json in the output folder.

    Finished steps left their models in the output folder: the build goes on there.
    """
    output_dir = request.output_dir
    (output_dir / FAILURE_FILE).unlink(missing_ok=True)
    try:
        check_request(request)
    except BuildRequestError as error:
        write_failure(output_dir, StepFailure(REQUEST, str(error), is_of_network=False))
        return 1
    ModelWrapper.save = _save_by_rename
    levels = _levels_up_to(request.level)
    steps = list_steps(request, levels)
    n_finished = count_finished_steps(output_dir, steps)
    for name in steps[:n_finished]:
        print(f"Finished before and not repeated: {name}")
    if n_finished == len(steps):
        return 0
    available = build_dataflow_step_lookup | make_own_steps(request)
    config = DataflowBuildConfig(
        output_dir=str(output_dir),
        board=request.board,
        synth_clk_period_ns=request.clk_period_ns,
        target_fps=request.target_fps,
        standalone_thresholds=True,
        generate_outputs=[output for level in levels for output in OUTPUTS_OF_LEVEL.get(level, ())],
        shell_flow_type=_find_shell_flow(request.board) if "bitfile" in levels else None,
        steps=[_note_failure(name, available[name]) for name in steps],
        start_step=steps[n_finished] if n_finished else None,
    )
    model = "" if n_finished else str(request.model)
    return 0 if build_dataflow_cfg(model, config) == 0 else 1


def list_steps(request: StepsRequest, levels: Sequence[str]) -> list[str]:
    """The names of all steps of a request, in order."""
    steps = [name for level in levels for name in STEPS_OF_LEVEL[level]]
    if request.sweep_targets_fps:
        return [*steps[: steps.index("step_fold_for_target")], "step_sweep_foldings"]
    return steps if request.reference_vectors else steps[: steps.index("step_estimate_network") + 1]


def count_finished_steps(output_dir: Path, steps: Sequence[str]) -> int:
    """How many of the steps, from the first on, left their model: it is written last, and by rename."""
    models = [output_dir / "intermediate_models" / f"{name}.onnx" for name in steps]
    return next((index for index, model in enumerate(models) if not model.is_file()), len(steps))


def check_request(request: StepsRequest) -> None:
    """Raises BuildRequestError where FINN would fail late, or not say what it misses."""
    if request.board not in part_map:
        raise BuildRequestError(f"board is {request.board}; expected one of {', '.join(sorted(part_map))}")
    if request.output not in OUTPUT_KINDS:
        raise BuildRequestError(f"output is {request.output}; expected one of {', '.join(OUTPUT_KINDS)}")
    if request.level not in STEPS_OF_LEVEL:
        raise BuildRequestError(f"level is {request.level}; expected one of {', '.join(STEPS_OF_LEVEL)}")
    try:
        ModelWrapper(str(request.model))
    except Exception as error:  # whatever a broken file makes protobuf and onnx raise
        raise BuildRequestError(f"model is {request.model}, which is no readable ONNX file: {error}") from error


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


def _note_failure(name: str, step: BuildStep) -> BuildStep:
    """The same step, which leaves failure.json behind: FINN's log loses the text of some exceptions."""

    def noting_step(model: ModelWrapper, config: DataflowBuildConfig) -> ModelWrapper:
        try:
            return step(model, config)
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            is_of_network = not isinstance(error, (OSError, MemoryError))
            failure = StepFailure(name, f"{type(error).__name__}: {text}", is_of_network)
            write_failure(Path(str(config.output_dir)), failure)
            raise

    noting_step.__name__ = name
    return noting_step
