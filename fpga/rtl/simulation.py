"""One RTL layer simulated cycle by cycle with Verilator, its words compared with those that the model computes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpga.in_finn.rtl_layers import RtlLayer
from fpga.rtl.edits import EDITS, Tool, apply_edits
from fpga.rtl.sources import copy_sources
from fpga.rtl.tools import Call, run_tool

BENCH = (Path(__file__).with_name("bench.sv"), Path(__file__).with_name("bench.cpp"))

PACES = (
    ("at full speed", 100, 100, 1, 0),
    ("under backpressure", 60, 50, 7, 1),
)
"""How often, per cent, a word is offered and one is taken, the seed of it, and whether both rest now and then."""

LEADING_PADS = ("FMPadding_rtl",)
"""Layers that give words before they take one: behind the last frame, the zeros in front of a next one."""

OPTIONS = ("-O3", "--assert", "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--x-assign", "unique")

FINDING = re.compile(r"^(DIFFERS|SURPLUS|UNSTABLE|STALLED|DONE) (.*)$", re.MULTILINE)

ASSERTION = re.compile(r"%Error: (\S+?):\d+: Assertion failed in [^:]*: (?:\S+: )?(.*)")


class SimulationError(Exception):
    """Verilator does not accept a layer; the text is one line that says why."""


@dataclass(frozen=True)
class Simulation:
    """What came of one layer."""

    n_words: int
    """Words of the output stream that were expected, at each pace."""
    difference: str | None
    """Pace, word and values of the first; None where all are equal at each pace."""
    edited: tuple[str, ...]
    """Files of FINN's library of which an edited copy was read; none where Verilator takes the original text."""


def find_verilator() -> str | None:
    """Its version where it is on PATH with a C++ compiler; else None."""
    if any(shutil.which(program) is None for program in ("verilator", "make", "g++")):
        return None
    asked = subprocess.run(["verilator", "--version"], capture_output=True, text=True, timeout=60, check=False)
    version = re.match(r"Verilator \S+", asked.stdout)
    return None if version is None else version[0]


def simulate(layer: RtlLayer, taken: Path, expected: Path, folder: Path, call: Call) -> Simulation:
    """Feeds the words of file `taken` to the layer and compares what it gives with `expected`; one word a line, hex.

    `folder` is its own; what was said stays there as verilator.log. The original text is tried first. Raises
    SimulationError, RtlSourceError, RtlEditError and what `run_tool` raises.
    """
    log = folder / "verilator.log"
    files = copy_sources(layer, folder)
    shutil.copyfile(taken, folder / "in.hex")
    shutil.copyfile(expected, folder / "out.hex")
    n_in, n_out = (len((folder / name).read_text().split()) for name in ("in.hex", "out.hex"))
    edited: tuple[str, ...] = ()
    command = make_command(layer, [path.name for path in files], n_in, n_out)
    if run_tool(command, folder, log, call) != 0:
        if not {edit.file for edit in EDITS if Tool.VERILATOR in edit.tools} & {path.name for path in files}:
            raise SimulationError(f"Verilator: {find_error(log.read_text(errors='replace'))}")
        log.unlink()
        edited = apply_edits(files, Tool.VERILATOR)
        if run_tool(command, folder, log, call) != 0:
            raise SimulationError(f"Verilator: {find_error(log.read_text(errors='replace'))}")
    for pace, in_percent, out_percent, seed, rests in PACES:
        run = folder / "run.log"
        run.unlink(missing_ok=True)
        plus = (
            f"+in={in_percent}",
            f"+out={out_percent}",
            f"+seed={seed}",
            f"+rests={rests}",
            "+verilator+error+limit+100000",
        )
        run_tool(("obj/Vrtl_bench", *plus), folder, run, call)
        difference = describe_difference(run.read_text(errors="replace"), n_in, n_out)
        if difference is not None:
            return Simulation(n_out, f"{pace}, {difference}", edited)
    return Simulation(n_out, None, edited)


def make_command(layer: RtlLayer, files: Sequence[str], n_in: int, n_out: int) -> tuple[str, ...]:
    """Verilator's, and through it the compiler's, to make obj/Vrtl_bench."""
    sizes = {"IN_BITS": layer.in_bits, "OUT_BITS": layer.out_bits, "N_IN": n_in, "N_OUT": n_out}
    sizes["PAYLOAD_BITS"] = layer.payload_bits
    sizes["LEADS"] = int(layer.operator in LEADING_PADS)
    bench, main = (str(path) for path in BENCH)
    return (
        *("verilator", "--cc", "--exe", "--build", *OPTIONS, "-CFLAGS", "-O1", "-Mdir", "obj", "-DFINN_SIMULATION"),
        *("--top-module", "rtl_bench", *(f"-G{name}={size}" for name, size in sizes.items()), bench, *files, main),
    )


def describe_difference(log: str, n_in: int, n_out: int) -> str | None:
    """The first finding of a run in words, with the assertion of FINN's own that failed before it, if one did."""
    findings = FINDING.findall(log)
    assertion = ASSERTION.search(log)
    words = None if assertion is None else f"an assertion of {assertion[1]} fails: {assertion[2].strip()}"
    kind, values = findings[0] if findings else ("", "")
    found = values.split()
    if kind == "DIFFERS":
        difference = f"word {found[0]} is {found[1]}; expected {found[2]}"
    elif kind == "SURPLUS":
        difference = f"word {found[0]} is {found[1]}; expected {n_out} words"
    elif kind == "UNSTABLE":
        difference = f"word {found[0]} changes before it is taken"
    elif kind == "STALLED":
        difference = f"no word {found[0]} after {found[1]} words of {n_in} were taken; expected {n_out} words"
    elif kind == "DONE":
        return words
    else:
        difference = f"the simulation ended without a result: {find_error(log)}"
    return difference if words is None else f"{difference}; {words}"


def find_error(log: str) -> str:
    """The first error of Verilator's or the compiler's log, on one line."""
    errors = re.findall(r"^%Error[^\n]*|^.*?\berror: [^\n]*", log, re.MULTILINE)
    compiler = [error for error in errors if "error: " in error]
    lines = compiler or errors or [line for line in log.splitlines() if line.strip()][-1:] or ["it said nothing"]
    return " ".join(lines[0].split())[:300]
