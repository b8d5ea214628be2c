"""The generated RTL of one layer: its files, its ports as one stream in and one out, and what tells it from others."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from fpga.in_finn.rtl_layers import RtlLayer

TOP = "finn_layer"
"""The module around each layer."""

WRAPPER = f"{TOP}.sv"

STREAM_IN, STREAM_OUT, WEIGHTS, MEMORY_OUT = "in0_V", "out0_V", "in1_V", "m_axis_0"
"""As FINN names the ports of its layers and of its weight memories."""

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\(\*.*?\*\)", re.DOTALL)
"""Attributes of ports, too."""

PORT = re.compile(r"^(input|output)\s+(?:wire\s+|logic\s+|reg\s+)?(?:\[.*\]\s*)?(\w+)$", re.DOTALL)


class RtlSourceError(Exception):
    """A layer's generated code is not there, or is not what FINN's version generates."""


def copy_sources(layer: RtlLayer, folder: Path) -> list[Path]:
    """The layer's files, and the module around it, in `folder`: Verilog by name, in order. Raises RtlSourceError."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*layer.sources, *layer.data_files):
        try:
            shutil.copyfile(path, folder / path.name)
        except OSError as error:
            raise RtlSourceError(f"the code of {layer.name} is not whole: {error}") from error
    (folder / WRAPPER).write_text(write_wrapper(layer))
    return [*(folder / path.name for path in layer.sources), folder / WRAPPER]


def hash_sources(layer: RtlLayer) -> str:
    """16 hex digits, equal for layers whose code differs in the layer's name alone. Raises RtlSourceError."""
    digest = hashlib.sha256(f"{layer.in_bits} {layer.out_bits}".encode())
    for path in (*layer.sources, *layer.data_files):
        try:
            text = path.read_text()
        except OSError as error:
            raise RtlSourceError(f"the code of {layer.name} is not whole: {error}") from error
        text = re.sub(r'"[^"\n]*/([^"/\n]+\.dat)"', r'"\1"', text)  # the weight memory's file is named in full
        for name in (path.name, text):
            digest.update(re.sub(rf"\b{re.escape(layer.name)}(?=\b|_)", "LAYER", name).encode() + b"\0")
    return digest.hexdigest()[:16]


def write_wrapper(layer: RtlLayer) -> str:
    """A module of clock, reset, one stream in and one out; weights come from the layer's own memory.

    Inputs that FINN connects to nothing, as those of AXI-Lite, are zero, as Vivado makes them.
    """
    core = {
        "ap_clk": "clk",
        "ap_rst_n": "rst_n",
        **_connect(STREAM_IN, "in"),
        **_connect(STREAM_OUT, "out"),
    }
    memory = ""
    weights = ""
    if layer.memory_top is not None:
        core |= _connect(WEIGHTS, "weights")
        ports = list_ports(_find_text(layer.memory_files, layer.memory_top), layer.memory_top)
        connected = {"ap_clk": "clk", "ap_rst_n": "rst_n", **_connect(MEMORY_OUT, "weights")}
        parameters = "".join(f'.INIT_FILE("{path.name}")' for path in layer.data_files if path.stem == "memblock")
        memory = _instantiate(layer.memory_top, "memory", ports, connected, parameters)
        width = _find_weight_width(layer)
        weights = f"\twire [{width}-1:0] weights_data;\n\twire weights_valid, weights_ready;\n"
    assert layer.top is not None  # only RTL layers are wrapped
    core_ports = list_ports(_find_text(layer.files, layer.top), layer.top)
    return (
        f"module {TOP}(\n\tinput clk, input rst_n,\n"
        f"\tinput [{layer.in_bits - 1}:0] in_data, input in_valid, output in_ready,\n"
        f"\toutput [{layer.out_bits - 1}:0] out_data, output out_valid, input out_ready\n);\n"
        f"{weights}{_instantiate(layer.top, 'core', core_ports, core)}{memory}endmodule\n"
    )


def list_ports(text: str, module: str) -> dict[str, str]:
    """Direction of each port of a module by name, in order. Raises RtlSourceError."""
    bare = COMMENT.sub(" ", text)
    header = re.search(rf"\bmodule\s+{re.escape(module)}\b(?:\s*#\s*\(.*?\n\s*\))?\s*\((.*?)\)\s*;", bare, re.DOTALL)
    if header is None:
        raise RtlSourceError(f"there is no module {module} in what FINN generated for it")
    ports = {}
    for declaration in _split_declarations(header[1]):
        match = PORT.match(declaration)
        if match is None:
            raise RtlSourceError(f"module {module} declares {declaration!r}; expected input or output and a name")
        ports[match[2]] = match[1]
    return ports


def _split_declarations(ports: str) -> list[str]:
    """At the commas that lie in no brackets."""
    parts, depth = [""], 0
    for character in ports:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _connect(stream: str, ours: str) -> dict[str, str]:
    return {f"{stream}_{end}": f"{ours}_{word}" for end, word in (("TDATA", "data"), ("TVALID", "valid"))} | {
        f"{stream}_TREADY": f"{ours}_ready"
    }


def _instantiate(
    module: str, name: str, ports: Mapping[str, str], connected: Mapping[str, str], parameters: str = ""
) -> str:
    """FINN writes the ends of ports now in capitals and now not."""
    by_lower_case = {port.lower(): wire for port, wire in connected.items()}
    missing = by_lower_case.keys() - {port.lower() for port in ports}
    if missing:
        raise RtlSourceError(f"module {module} has no ports {', '.join(sorted(missing))}; it has {', '.join(ports)}")
    lines = []
    for port, direction in ports.items():
        wire = by_lower_case.get(port.lower(), "'0" if direction == "input" else "")
        lines.append(f"\t\t.{port}({wire})")
    return f"\t{module} {f'#({parameters}) ' if parameters else ''}{name}(\n" + ",\n".join(lines) + "\n\t);\n"


def _find_weight_width(layer: RtlLayer) -> str:
    text = _find_text(layer.memory_files, layer.memory_top or "")
    width = re.search(r"parameter\s+WIDTH\s*=\s*(\d+)", text)
    if width is None:
        raise RtlSourceError(f"module {layer.memory_top} has no parameter WIDTH; expected that of FINN's weight memory")
    return str((int(width[1]) + 7) // 8 * 8)


def _find_text(files: tuple[Path, ...], module: str) -> str:
    for path in files:
        text = path.read_text()
        if re.search(rf"\bmodule\s+{re.escape(module)}\b", text):
            return text
    raise RtlSourceError(f"there is no module {module} in {', '.join(path.name for path in files)}")
