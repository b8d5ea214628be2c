"""Whether the machines can hold a trial, and the pool that runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spaces.study_config import WorkersPart

if TYPE_CHECKING:
    from workers.pool import Pool


class CapacityError(Exception):
    """No worker can hold one trial."""


def check_machine(workers: WorkersPart) -> None:
    """Raises CapacityError where one trial asks for more cores than this machine has."""
    n_cpus = os.cpu_count() or 1
    if workers.cpus_per_trial > n_cpus:
        raise CapacityError(
            f"workers.cpus_per_trial is {workers.cpus_per_trial:g}; expected at most {n_cpus}, the cores here"
        )


def open_pool(workers: WorkersPart, is_local: bool, ray_address: str | None) -> Pool:
    """The pool to train in. Raises CapacityError where it cannot hold one trial, or there is no cluster."""
    from workers.pool import LocalPool, PoolError, RayPool  # imports torch

    if is_local:
        return LocalPool()
    try:
        return RayPool(workers.cpus_per_trial, workers.gpus_per_trial, workers.max_concurrent, ray_address)
    except (PoolError, ConnectionError) as error:
        raise CapacityError(str(error)) from error
