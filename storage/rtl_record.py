"""What open-source tools found of the generated RTL of a build."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import with_config

from storage.stored_json import REFUSE_UNKNOWN


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class RtlLayerCheck:
    """What open-source tools found of the generated code of one layer."""

    name: str
    synthesis_note: str | None
    """Why Yosys gives no resources, or what was special; None where there is nothing to say."""
    n_words: int | None
    """Words of its output stream that were expected in simulation; None where it was not simulated."""
    is_equal: bool | None
    """Whether all of them came, and no others, at full speed and under backpressure; None where not simulated."""
    simulation_note: str | None
    """Why it was not simulated, or the first difference."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class RtlCheck:
    """The layers of a build, synthesised by Yosys and simulated by Verilator, each by itself."""

    yosys: str
    """Version."""
    verilator: str | None
    """Version; None where there is none on the machine."""
    n_frames: int
    """Recorded frames whose activations went through the simulated layers."""
    edited_for_yosys: tuple[str, ...]
    """Files of FINN's library that only an edited copy of was accepted (fpga/rtl/edits.py)."""
    edited_for_verilator: tuple[str, ...]
    layers: tuple[RtlLayerCheck, ...]
    """In the order of the data; HLS layers are there, with a note."""
