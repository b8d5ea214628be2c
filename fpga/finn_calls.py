"""finn_steps.py as fpga/toolchain/forked_calls.py calls it; runs inside FINN's environment."""

from __future__ import annotations

import json
from pathlib import Path

from finn_steps import run_steps


def prepare() -> None:
    """The import of this module is all."""


def main(arguments: list[str]) -> int:
    """As `python finn_steps.py REQUEST.json`; when its caller ends, the process does."""
    status: int = run_steps(json.loads(Path(arguments[0]).read_text()))
    return status
