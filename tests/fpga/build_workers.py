"""A build worker in a process of its own, and what it left in its folders."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

from sqlalchemy import update

from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.tables import builds
from tests.fpga.running_processes import find_processes


def start_worker(database: Database, store: ArtifactStore, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpga.run", "--database", database.url, "--artifacts", str(store.root), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def find_finn(store: ArtifactStore) -> list[int]:
    requests = store.root.glob("builds/*/request.json")
    return [pid for request in requests for pid in find_processes(str(request))]


def has_finished_step(store: ArtifactStore) -> bool:
    """True within a second of the first: all steps of a tiny network take a few."""
    return any(store.root.glob("builds/*/output/intermediate_models/step_*.onnx"))


def count_steps(store: ArtifactStore) -> list[Counter[str]]:
    """How often each step was begun, per folder, from FINN's logs."""
    logs = [path.read_text() for path in sorted(store.root.glob("builds/*/finn.log"))]
    return [Counter(re.findall(r"Running step: (\w+)", log)) for log in logs]


def is_each_finished_step_run_once(store: ArtifactStore) -> bool:
    """Only the step in work when something was killed may have been begun twice."""
    (steps,) = count_steps(store)
    return len(steps) > 15 and sorted(steps.values())[-2:] in ([1, 1], [1, 2])


def end_lease(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(update(builds).values(lease_until=0))
