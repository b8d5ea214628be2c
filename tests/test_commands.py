"""Every command that a user may have in a script answers --help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

COMMANDS = (
    "dashboards.report_page",
    "dashboards.run",
    "fpga.estimate_worker",
    "fpga.external_finn",
    "fpga.finn_environment",
    "fpga.own_finn",
    "fpga.rtl_check",
    "fpga.run",
    "fpga.sweep",
    "search.add_to_zoo",
    "search",
    "search.ask_benchmark",
    "search.compare",
    "search.estimate_benchmark",
    "search.hardware_table",
    "search.judge_winners",
    "search.list",
    "search.live_benchmark",
    "search.pack",
    "search.promote",
    "search.promotion_benchmark",
    "search.replay",
    "search.report",
    "search.run",
    "search.strategy_benchmark",
    "search.test_accuracy",
    "search.unpack",
    "spaces.schema",
    "storage.radioml_twin",
    "storage.twin_benchmark",
    "workers.architecture_export",
    "workers.benchmark",
    "workers.gpu_benchmark",
    "workers.recipe_benchmark",
    "workers.inference_benchmark",
    "workers.inference_cost",
    "workers.path_comparison",
    "workers.reader_benchmark",
)
"""All that a README has named so far, the first one included; a file that moves keeps its command."""

CALL_HELP = """
import contextlib, io, json, os, runpy, sys
import brevitas.nn, h5py, optuna, plotly.graph_objects, qonnx, sqlalchemy, torch
answers = {}
for name in sys.argv[1:]:
    reads, writes = os.pipe()
    if os.fork() == 0:
        sys.argv, printed, status = [name, "--help"], io.StringIO(), 1
        with contextlib.redirect_stdout(printed):
            try:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                status = end.code
        os.write(writes, json.dumps([status, printed.getvalue()]).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as answer:
        answers[name] = json.loads(answer.read() or '[1, ""]')
    os.wait()
print(json.dumps(answers))
"""
"""What `python -m NAME --help` does, each in a fork of a process that has the libraries and none of our modules."""


@pytest.mark.slow
def test_every_command_answers_help_and_names_itself() -> None:
    command = [sys.executable, "-W", "ignore", "-c", CALL_HELP, *COMMANDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)

    assert sorted(answers) == sorted(COMMANDS)
    assert {name: code for name, (code, _) in answers.items() if code} == {}, done.stderr
    unnamed = [name for name, (_, said) in answers.items() if not said.startswith(f"usage: python -m {name} ")]
    assert unnamed == []
