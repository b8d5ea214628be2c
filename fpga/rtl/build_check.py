"""What open-source tools find of the RTL layers of one build, beside FINN's estimates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fpga.build_cache import REFERENCE_FILE, is_finished, lock_folder
from fpga.finn_build import REQUEST_FILE
from fpga.in_finn.network_report import read_layers
from fpga.in_finn.request import RtlRequest, read_board
from fpga.in_finn.rtl_layers import FILE as LAYERS_FILE
from fpga.in_finn.rtl_layers import RtlLayers, read_rtl_layers
from fpga.rtl.layer_tasks import Tools, run_all
from fpga.rtl.outcomes import NothingFound, ToolOutcome, describe_outcome
from fpga.rtl.result import write_rtl_check
from fpga.rtl.simulation import Simulation, find_verilator
from fpga.rtl.synthesis import Synthesis, find_yosys
from fpga.rtl.tools import Call, CheckRun
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.toolchain.process_group import CommandTimeoutError, run_in_process_group
from storage.artifacts import write_text_atomically
from storage.hardware_reports import Resources
from storage.records import BuildLevel
from storage.rtl_record import RtlCheck, RtlLayerCheck

STREAMS_TIMEOUT_S = 600


class RtlCheckError(Exception):
    """The build cannot be checked; the text says why."""


@dataclass(frozen=True)
class CheckedBuild:
    """What was found, and FINN's estimates beside it."""

    estimates: Mapping[str, Resources]
    """FINN's, by layer."""
    by_yosys: Mapping[str, Resources]
    """Of the layers that Yosys accepted."""
    check: RtlCheck

    @property
    def differing(self) -> tuple[RtlLayerCheck, ...]:
        """The simulated layers that give other words than the model."""
        return tuple(layer for layer in self.check.layers if layer.is_equal is False)


def check_build(folder: Path, finn: Finn, run: CheckRun) -> CheckedBuild:
    """Synthesises and simulates the RTL layers of a build folder; the result lies there as rtl_check.json, too.

    Known outcomes of the same code by the same tools are used again. Raises RtlCheckError, and
    CommandStoppedError once `run.stop` is set.
    """
    if not is_finished(folder, BuildLevel.CODEGEN):
        raise RtlCheckError(f"{folder} has no finished build with generated code; expected one that reached codegen")
    with lock_folder(folder, run.stop, lambda: run.on_event("waits for a worker that builds there")) as lock:
        own = folder / "rtl_check"
        rtl = write_streams(folder, own, finn, run, lock)
        tools = Tools(find_yosys(finn), find_verilator(), Call(run.timeout_s, run.stop, lock))
        synthesised, simulated = run_all(rtl, own, tools, run)
        check = combine(rtl, synthesised, simulated, tools)
        by_yosys = {name: found.resources for name, found in synthesised.items() if isinstance(found, Synthesis)}
        checked = CheckedBuild(read_estimates(folder), by_yosys, check)
        for streams in own.glob("*.hex"):
            streams.unlink()
        write_rtl_check(folder, checked.by_yosys, checked.check)
    return checked


def write_streams(folder: Path, own: Path, finn: Finn, run: CheckRun, lock: int) -> RtlLayers:
    """Has FINN's Python write which layers there are, and what flows through them, to `own`. Raises RtlCheckError."""
    own.mkdir(exist_ok=True)
    request = RtlRequest(
        output_dir=folder / "output",
        generated=folder / "generated",
        board=read_board(folder / REQUEST_FILE),
        folder=own,
        reference_vectors=folder / REFERENCE_FILE,
        n_frames=run.n_frames,
    )
    path, log = write_text_atomically(own / REQUEST_FILE, request.to_json()), own / "finn.log"
    log.unlink(missing_ok=True)
    command, variables = (finn.python, IN_FINN, "rtl", path), make_finn_variables(folder / "generated")
    try:
        status = run_in_process_group(
            command, log, timeout_s=STREAMS_TIMEOUT_S, stop=run.stop, environment=variables, keep_open=(lock,)
        )
    except CommandTimeoutError:
        problem = f"FINN took more than {STREAMS_TIMEOUT_S} s to run {run.n_frames} frames; log: {log}"
        raise RtlCheckError(problem) from None
    if status != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        raise RtlCheckError(f"FINN cannot say what its layers are: {' '.join(last) or 'no message'}; log: {log}")
    return _read_layers(own)


def read_estimates(folder: Path) -> dict[str, Resources]:
    """FINN's, by layer."""
    layers = read_layers(json.loads((folder / "output" / "report" / "network_report.json").read_text()))
    return {layer.name: Resources(layer.lut, layer.bram_18k, layer.uram, layer.dsp) for layer in layers}


def combine(
    rtl: RtlLayers, synthesised: Mapping[str, ToolOutcome], simulated: Mapping[str, ToolOutcome], tools: Tools
) -> RtlCheck:
    """Both tools' outcomes, by layer's name, as one record."""
    return RtlCheck(
        yosys=tools.yosys.version if tools.yosys else "not found",
        verilator=tools.verilator,
        n_frames=rtl.n_frames,
        edited_for_yosys=_list_edited(synthesised),
        edited_for_verilator=_list_edited(simulated),
        layers=tuple(
            _combine_layer(layer.name, synthesised[layer.name], simulated[layer.name]) for layer in rtl.layers
        ),
    )


def _combine_layer(name: str, synthesis: ToolOutcome, simulation: ToolOutcome) -> RtlLayerCheck:
    synthesis_note = synthesis.reason if isinstance(synthesis, NothingFound) else None
    if isinstance(synthesis, Synthesis):
        synthesis_note = synthesis.note
    if isinstance(simulation, Simulation):
        is_equal = simulation.difference is None
        return RtlLayerCheck(name, synthesis_note, simulation.n_words, is_equal, simulation.difference)
    return RtlLayerCheck(name, synthesis_note, None, None, describe_outcome(simulation))


def _read_layers(own: Path) -> RtlLayers:
    try:
        return read_rtl_layers(own)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{own / LAYERS_FILE} cannot be read: {error}; expected what fpga/in_finn/rtl.py writes"
        raise RtlCheckError(problem) from error


def _list_edited(outcomes: Mapping[str, ToolOutcome]) -> tuple[str, ...]:
    edited = (outcome.edited for outcome in outcomes.values() if not isinstance(outcome, NothingFound))
    return tuple(sorted({name for names in edited for name in names}))
