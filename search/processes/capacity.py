"""Whether the machines have the cores and GPUs of a trial, and the pool that runs trials there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from spaces.study_config import WorkersPart

if TYPE_CHECKING:
    from workers.pool import Pool


NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")
"""NVIDIA's driver has a folder here for each GPU."""

PROBE_TIMEOUT_S = 5.0

EXPECTED_ADDRESS = "expected HOST:PORT or auto"


class CapacityError(Exception):
    """No machine can run a trial."""


def check_machine(workers: WorkersPart) -> None:
    """Raises CapacityError where one trial asks for more cores or GPUs than this machine has."""
    n_cpus = os.cpu_count() or 1
    if workers.cpus_per_trial > n_cpus:
        raise CapacityError(
            f"workers.cpus_per_trial is {workers.cpus_per_trial:g}; expected at most {n_cpus}, the cores here"
        )
    if workers.gpus_per_trial > 0 and workers.gpus_per_trial > (n_gpus := count_gpus()):
        raise CapacityError(
            f"workers.gpus_per_trial is {workers.gpus_per_trial:g}; expected at most {n_gpus}, the NVIDIA GPUs here"
        )


def count_gpus() -> int:
    """How many NVIDIA GPUs this process may use, by CUDA_VISIBLE_DEVICES. Needs neither torch nor Ray."""
    n_gpus = sum(1 for _ in NVIDIA_DRIVER.iterdir()) if NVIDIA_DRIVER.is_dir() else _ask_nvidia_smi()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return n_gpus
    return min(n_gpus, sum(1 for device in visible.split(",") if device.strip() not in ("", "-1", "NoDevFiles")))


def check_cluster(ray_address: str) -> None:
    """Raises CapacityError where the address is malformed or nobody answers there.

    For "auto" the address in RAY_ADDRESS is checked; without one, Ray finds the cluster itself.
    """
    address = (os.environ.get("RAY_ADDRESS") or "auto") if ray_address == "auto" else ray_address
    if address == "auto":
        return
    match = re.fullmatch(r"\[?([^/\[\]]+?)\]?:(\d{1,5})", address)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise CapacityError(f"--ray-address is {address}; {EXPECTED_ADDRESS}")
    try:
        socket.create_connection((match[1], int(match[2])), PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise CapacityError(
            f"--ray-address is {address}, where nobody answers ({error.strerror or error}); "
            f"{EXPECTED_ADDRESS} of a cluster that runs"
        ) from error


def open_pool(workers: WorkersPart, is_local: bool, ray_address: str | None) -> Pool:
    """The pool to train in. Raises CapacityError where it cannot run a trial, or there is no cluster."""
    from workers.pool import LocalPool, PoolError, RayPool  # imports torch

    if is_local:
        return LocalPool()
    try:
        return RayPool(workers.cpus_per_trial, workers.gpus_per_trial, workers.max_concurrent, ray_address)
    except (PoolError, ConnectionError, ValueError, RuntimeError) as error:
        raise CapacityError(str(error)) from error


def _ask_nvidia_smi() -> int:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in listed.splitlines() if line.startswith("GPU "))
