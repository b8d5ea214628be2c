"""Machines with Vivado of a real Ray cluster, one on the loopback interface here, run a worker of the later levels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DRIVER = """
import json, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster
from search.processes.build_machines import run_vivado_workers
from search.processes.interrupts import Interrupts, SearchInterrupted
from storage.database import open_database

folder, resources = Path(sys.argv[1]), json.loads(sys.argv[2])
open_database(f"sqlite:///{folder}/studies.db")
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": resources})
interrupts = Interrupts()
with interrupts.watch():
    try:
        tell = lambda line: print(line, flush=True)
        code = run_vivado_workers(cluster.address, "sqlite:///studies.db", folder / "artifacts", tell, interrupts)
        print("exit code", code)
    except SearchInterrupted:
        print("interrupted")
cluster.shutdown()
"""
"""In a process of its own: Ray takes its settings from the environment when it is imported."""


def start_driver(folder: Path, resources: dict[str, int], **variables: str) -> subprocess.Popen[str]:
    (folder / "driver.py").write_text(DRIVER)
    project = str(Path(__file__).resolve().parents[3])
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": project}
    return subprocess.Popen(
        [sys.executable, folder / "driver.py", folder, json.dumps(resources)],
        env={**os.environ, **own, **variables},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_of(driver: subprocess.Popen[str]) -> list[str]:
    output, _ = driver.communicate(timeout=240)
    return output.splitlines()


def write_stand_ins(folder: Path) -> str:
    """A PATH with programs of the tools' names, which only have to be there."""
    folder.mkdir()
    for name in ("vivado", "vitis_hls"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_machine_without_the_tools_says_what_is_missing(tmp_path: Path) -> None:
    assert lines_of(start_driver(tmp_path, {"vivado": 1})) == [
        "build machine 1 says stitched_ip needs Vivado and Vitis HLS, not found on this machine by PATH, "
        "XILINX_VIVADO, XILINX_HLS",
        "exit code 1",
    ]


def test_cluster_without_such_a_machine_is_told_and_no_failure(tmp_path: Path) -> None:
    first, last = lines_of(start_driver(tmp_path, {}))

    assert first.endswith("has the resource vivado; builds stay where they are")
    assert last == "exit code 0"


def test_workers_end_well_where_the_queue_is_empty(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, {"vivado": 2}, PATH=write_stand_ins(tmp_path / "bin"))

    lines = lines_of(driver)

    assert sorted(line.partition(" says ")[0] for line in lines[:-1]) == ["build machine 1", "build machine 2"]
    assert all(line.endswith("the build queue is empty") for line in lines[:-1])
    assert lines[-1] == "exit code 0"


def test_interrupted_run_ends_its_workers(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {begun}\nexec sleep 300\n")
    python.chmod(0o755)
    driver = start_driver(tmp_path, {"vivado": 1}, PATH=write_stand_ins(tmp_path / "bin"), FPGA_FINN=str(python))
    deadline = time.monotonic() + 120
    while not (begun.is_file() and begun.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.2)

    driver.send_signal(signal.SIGINT)

    assert lines_of(driver) == ["interrupted"]
    assert not Path(f"/proc/{begun.read_text().strip()}").exists()
