"""Runs a command of this folder in FINN's Python: `python fpga/in_finn COMMAND ARGUMENT...`; see commands.py.

FINN's Python has none of this project's packages, so this one is imported from beside its own folder.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path[0] = str(folder.parent)  # was this folder, whose modules must not be found by their bare names
importlib.import_module(folder.name)
del sys.path[0]  # nothing else of this project is to be found
sys.exit(importlib.import_module(f"{folder.name}.commands").run_program(sys.argv[1:]))
