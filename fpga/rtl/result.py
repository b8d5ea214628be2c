"""What open-source tools found of a build's RTL, as a file in its folder: kept for whoever reads the build later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from storage.artifacts import write_text_atomically
from storage.hardware_reports import BuildReport, Resources
from storage.rtl_record import RtlCheck
from storage.stored_json import from_json

RESULT_FILE = "rtl_check.json"


def write_rtl_check(folder: Path, by_yosys: Mapping[str, Resources], check: RtlCheck) -> None:
    """Leaves it in the build's folder, with resources by layer's name."""
    kept = {"by_yosys": {name: asdict(taken) for name, taken in by_yosys.items()}, "check": asdict(check)}
    write_text_atomically(folder / RESULT_FILE, json.dumps(kept, indent=2))


def read_rtl_check(folder: Path, report: BuildReport) -> BuildReport:
    """The report of the folder's build with the check's outcome; unchanged if there was no check."""
    path = folder / RESULT_FILE
    if not path.is_file():
        return report
    kept = json.loads(path.read_text())
    by_yosys = {name: from_json(Resources, taken) for name, taken in kept["by_yosys"].items()}
    return report.with_rtl_check(by_yosys, from_json(RtlCheck, kept["check"]))
