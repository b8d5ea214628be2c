"""What one tool found of one layer, or why it found nothing, and how that is kept in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fpga.rtl.simulation import Simulation
from fpga.rtl.synthesis import Synthesis
from storage.hardware_reports import Resources


@dataclass(frozen=True)
class NothingFound:
    """Why the tool was not asked, or gave no result."""

    reason: str


ToolOutcome = Synthesis | Simulation | NothingFound


def describe_outcome(outcome: ToolOutcome) -> str:
    """One line for the log."""
    match outcome:
        case Synthesis():
            taken = asdict(outcome.resources)
            return ", ".join(f"{taken[name]:,} {name}" for name in ("lut", "ff", "bram_18k", "dsp"))
        case Simulation():
            return outcome.difference or f"{outcome.n_words:,} words equal at each pace"
        case NothingFound():
            return outcome.reason


def outcome_to_json(outcome: ToolOutcome) -> dict[str, Any]:
    """What `outcome_from_json` takes."""
    return {"error": outcome.reason} if isinstance(outcome, NothingFound) else asdict(outcome)


def outcome_from_json(values: dict[str, Any]) -> ToolOutcome:
    """Of a file that may say more than the outcome."""
    if "error" in values:
        return NothingFound(values["error"])
    edited = tuple(values["edited"])
    if "resources" in values:
        return Synthesis(Resources(**values["resources"]), edited, values["note"])
    return Simulation(values["n_words"], values["difference"], edited)
