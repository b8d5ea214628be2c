"""Which levels of a build this machine has the tools for: Vivado and Vitis HLS from stitched_ip on.

Nothing here runs these tools. The levels that need them are written from FINN's source and untested.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.records import BuildLevel


class LevelError(Exception):
    """A worker cannot run these levels; the text says which it can."""


@dataclass(frozen=True)
class Tool:
    """A program that FINN calls."""

    name: str
    commands: tuple[str, ...]
    """Its names by version; one of them is enough."""
    variables: tuple[str, ...]
    """Environment variables that may hold its folder, in which the program lies under bin/."""


VIVADO = Tool("Vivado", ("vivado",), ("XILINX_VIVADO",))

VITIS_HLS = Tool("Vitis HLS", ("vitis_hls", "vitis-run"), ("XILINX_HLS", "XILINX_VITIS"))

TOOLS_OF_LEVEL: Mapping[BuildLevel, tuple[Tool, ...]] = {
    BuildLevel.ESTIMATE: (),
    BuildLevel.CODEGEN: (),
    BuildLevel.STITCHED_IP: (VIVADO, VITIS_HLS),
    BuildLevel.OUT_OF_CONTEXT_SYNTH: (VIVADO, VITIS_HLS),
    BuildLevel.BITFILE: (VIVADO, VITIS_HLS),
}


def choose_levels(asked: Sequence[str] | None, variables: Mapping[str, str] = os.environ) -> tuple[BuildLevel, ...]:
    """The levels of a worker: those asked for, else all that the tools here allow; in order.

    Raises LevelError: an unknown level, or one whose tools are not here.
    """
    if asked is None:
        return tuple(level for level in BuildLevel if not describe_missing_tools(level, variables))
    unknown = [name for name in asked if name not in list(BuildLevel)]
    if unknown or not asked:
        raise LevelError(f"--levels has {', '.join(unknown) or 'no level'}; expected some of {', '.join(BuildLevel)}")
    levels = tuple(level for level in BuildLevel if level.value in asked)
    problems = [problem for level in levels if (problem := describe_missing_tools(level, variables))]
    if problems:
        raise LevelError(problems[0])
    return levels


def levels_without_tools(levels: Sequence[BuildLevel]) -> tuple[BuildLevel, ...]:
    """Those of `levels` that need FINN alone: a container has no tools of this machine. Raises LevelError."""
    left = tuple(level for level in levels if not TOOLS_OF_LEVEL[level])
    if not left:
        able = [level for level, tools in TOOLS_OF_LEVEL.items() if not tools]
        raise LevelError(f"--levels has {', '.join(levels)}; expected some of {', '.join(able)}: FINN in a container")
    return left


def describe_missing_tools(level: BuildLevel, variables: Mapping[str, str] = os.environ) -> str | None:
    """One line that names the missing tools; None where none is missing."""
    missing = [tool for tool in TOOLS_OF_LEVEL[level] if find_tool(tool, variables) is None]
    if not missing:
        return None
    wanted = " and ".join(tool.name for tool in missing)
    places = ", ".join(["PATH", *(tool.variables[0] for tool in missing)])
    return f"{level.value} needs {wanted}, not found on this machine by {places}"


def find_tool(tool: Tool, variables: Mapping[str, str] = os.environ) -> Path | None:
    """The tool's program, or None."""
    folders = [variables.get("PATH", ""), *(f"{variables[name]}/bin" for name in tool.variables if name in variables)]
    path = os.pathsep.join(folders)
    found = (shutil.which(command, path=path) for command in tool.commands)
    return next((Path(program) for program in found if program), None)


def make_tool_variables(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables with which FINN finds both tools; empty where one is missing. Untested with real tools."""
    vivado, hls = find_tool(VIVADO, variables), find_tool(VITIS_HLS, variables)
    if vivado is None or hls is None:
        return {}
    vivado_folder, hls_folder = vivado.resolve().parent.parent, hls.resolve().parent.parent  # a link has no version
    return {
        "FINN_WITH_VIVADO": "1",
        "PATH": os.pathsep.join([str(vivado.parent), str(hls.parent), variables.get("PATH", "")]),
        "XILINX_VIVADO": variables.get("XILINX_VIVADO", str(vivado_folder)),
        "XILINX_HLS": variables.get("XILINX_HLS", str(hls_folder)),
    }
