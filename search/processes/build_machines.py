"""Machines of a Ray cluster that have Vivado: they take builds through the later levels.

Such a machine joins with `ray start --address HOST:PORT --resources='{"vivado": 1}'`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from search.processes.interrupts import Interrupts, SearchInterrupted
from search.processes.local_services import Service
from storage.records import Build, BuildLevel, BuildState

RESOURCE = "vivado"

LEVELS = (BuildLevel.STITCHED_IP, BuildLevel.OUT_OF_CONTEXT_SYNTH, BuildLevel.BITFILE)
"""Those after code generation."""

POLL_S = 0.5

WAITING_NOTICE_S = 30.0
"""A worker waits while its machine is busy. After this long, the user is told."""

MAX_ERROR_LENGTH = 300

ENDING_S = 25.0
"""A worker takes less time to give its build back."""


def run_vivado_workers(
    ray_address: str, storage: str, artifacts: Path, on_line: Callable[[str], None], interrupts: Interrupts
) -> int:
    """Runs a build worker on each machine with Vivado until the queue is empty, and passes on what they print.

    Returns 0, or 1 where a worker failed; 0 with a remark where no machine has Vivado. The machines must reach
    `storage` and `artifacts`. Raises SearchInterrupted after Ctrl-C; running builds are then given back.
    """
    from workers.pool import start_ray  # imports torch

    ray = start_ray(ray_address)
    interrupts.install()  # Ray has handlers of its own
    try:
        n_workers = int(ray.cluster_resources().get(RESOURCE, 0))
        if n_workers == 0:
            on_line(
                f"no machine of the cluster at {ray_address} has the resource {RESOURCE}; builds stay where they are"
            )
            return 0
        task = ray.remote(num_cpus=0, resources={RESOURCE: 1}, max_retries=0)(run_build_worker_there)
        arguments = (_make_absolute(storage), str(artifacts.resolve()))
        return _follow(ray, [task.remote(*arguments) for _ in range(n_workers)], on_line, interrupts)
    finally:
        ray.shutdown()


def builds_for_vivado(builds: Sequence[Build]) -> list[Build]:
    """The builds that wait for one of LEVELS."""
    return [build for build in builds if build.next_level in LEVELS and build.state is not BuildState.FAILED]


def run_build_worker_there(storage: str, artifacts: str) -> Iterator[str | int]:
    """Runs on the machine with Vivado. Yields the lines of its build worker, then the exit code."""
    arguments = ["fpga.run", "--storage", storage, "--artifacts", artifacts, "--levels", ",".join(LEVELS), "--drain"]
    with tempfile.TemporaryDirectory(prefix="build-worker-") as folder:
        worker = Service("build worker", arguments, Path(folder) / "log")
        try:
            with worker.log.open(errors="replace") as log:
                while worker.exit_code is None:
                    time.sleep(POLL_S)  # Ray can interrupt a sleep, but not a wait for a process
                    yield from _read_lines(log)
                yield from _read_lines(log)
            yield worker.exit_code
        finally:
            worker.stop()


def _follow(ray: Any, workers: list[Any], on_line: Callable[[str], None], interrupts: Interrupts) -> int:
    """Passes on the workers' lines until all have ended; 1 where one failed, else 0."""
    running, exit_codes = list(workers), []
    started, has_begun = time.monotonic(), False
    try:
        while running:
            if not has_begun and time.monotonic() - started > WAITING_NOTICE_S:
                on_line(f"waits for a machine with the resource {RESOURCE} that is free")
                has_begun = True
            interrupts.check()  # between Ray's calls, which turn it into another exception
            ready, _ = ray.wait(running, num_returns=1, timeout=POLL_S)
            for worker in ready:
                has_begun = True
                said = _next_of(ray, worker)
                if isinstance(said, int):
                    exit_codes.append(said)
                    running.remove(worker)
                else:
                    on_line(f"build machine {workers.index(worker) + 1} {said}")
    except SearchInterrupted:
        _end(ray, running)
        raise
    return 0 if not any(exit_codes) else 1


def _next_of(ray: Any, worker: Any) -> str | int:
    """The worker's next line, or its exit code; 1 where it ended without one."""
    try:
        said: str | int = ray.get(next(worker))
    except StopIteration:
        return 1
    except ray.exceptions.RayError as error:  # the machine is lost, or has another version of this project
        return f"is lost: {' '.join(str(error).split())[:MAX_ERROR_LENGTH]}"
    return said if isinstance(said, int) else f"says {said}"


def _end(ray: Any, workers: list[Any]) -> None:
    for worker in workers:
        ray.cancel(worker)
    deadline = time.monotonic() + ENDING_S
    while workers and time.monotonic() < deadline:
        ready, _ = ray.wait(workers, num_returns=1, timeout=POLL_S)
        ended = [worker for worker in ready if isinstance(_next_of(ray, worker), int)]
        workers = [worker for worker in workers if worker not in ended]


def _read_lines(log: Any) -> Iterator[str]:
    for line in log:
        yield line.rstrip("\n")


def _make_absolute(storage: str) -> str:
    """With an absolute path to an SQLite file: a worker of Ray runs in another folder."""
    scheme, separator, path = storage.partition(":///")
    return f"{scheme}:///{Path(path).resolve()}" if scheme == "sqlite" and separator else storage
