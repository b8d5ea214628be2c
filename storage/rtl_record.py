"""What the cross-check by open-source tools found in a build's generated RTL."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import with_config

from storage.stored_json import REFUSE_UNKNOWN


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class RtlLayerCheck:
    """What the cross-check found in the generated code of one layer."""

    name: str
    synthesis_note: str | None
    """Why Yosys gives no resources, or what to know of them; None where there is nothing to say."""
    n_words: int | None
    """Words that the simulation expected in its output stream; None where it was not simulated."""
    is_equal: bool | None
    """Whether exactly these words came, at full speed and under backpressure; None where it was not simulated."""
    simulation_note: str | None
    """Why it was not simulated, or the first difference."""


@with_config(REFUSE_UNKNOWN)
@dataclass(frozen=True)
class RtlCheck:
    """The layers of a build, synthesised by Yosys and simulated by Verilator, each by itself."""

    yosys: str
    """Version."""
    verilator: str | None
    """Version; None where it is not installed."""
    n_frames: int
    """Recorded frames whose activations the simulated layers were given."""
    edited_for_yosys: tuple[str, ...]
    """Files of FINN's library that the tool accepts only as an edited copy (fpga/rtl/edits.py)."""
    edited_for_verilator: tuple[str, ...]
    layers: tuple[RtlLayerCheck, ...]
    """In the order of the data; HLS layers are there, with a note."""
