"""Every command that a user may have in a script answers --help."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

COMMANDS = (
    "dashboards.report_page",
    "dashboards.run",
    "fpga.estimate_worker",
    "fpga.finn_environment",
    "fpga.external_finn",
    "fpga.own_finn",
    "fpga.rtl_check",
    "fpga.run",
    "fpga.sweep",
    "search.estimate_benchmark",
    "search.hardware_table",
    "search.promote",
    "search.promotion_benchmark",
    "search.report",
    "search.run",
    "search.test_accuracy",
    "storage.radioml_twin",
    "storage.twin_benchmark",
    "workers.benchmark",
    "workers.gpu_benchmark",
    "workers.inference_cost",
    "workers.path_comparison",
    "workers.reader_benchmark",
)
"""All that a README has named so far, the first one included; a file that moves keeps its command."""


def call_help(module: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_every_command_answers_help_and_names_itself() -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(COMMANDS, pool.map(call_help, COMMANDS), strict=True))
    assert {module: answer.stderr for module, answer in answers.items() if answer.returncode != 0} == {}
    unnamed = [name for name, answer in answers.items() if not answer.stdout.startswith(f"usage: python -m {name} ")]
    assert unnamed == []
