"""Where trials are trained: in this process, or as Ray tasks on any number of machines, behind one interface."""

from __future__ import annotations

import logging
import os
import traceback
from collections import deque
from typing import Any, Protocol

from storage.child_processes import PROJECT_FOLDER
from workers.evaluation import run_design
from workers.gpu_actors import GpuActors
from workers.requests import Completed, EvaluationRequest, Failed, Paused

Done = Completed | Paused | Failed
"""How a request ends."""


class PoolError(RuntimeError):
    """The pool cannot run even one trial."""


class Pool(Protocol):
    """Trains designs. Closing it stops what runs; checkpoints stay."""

    def capacity(self) -> int:
        """How many trials can run at once now; it changes as machines come and go."""

    def submit(self, request: EvaluationRequest) -> None:
        """Hands over a trial; returns at once."""

    def next_done(self, timeout_s: float) -> Done | None:
        """One trial that is finished or pauses, or None if none does in time."""

    def close(self) -> None:
        """Stops all running trials and frees the pool."""


class LocalPool:
    """Trains one trial after another inside `next_done`, in this process: for debugging, and to do without Ray."""

    def __init__(self) -> None:
        self._waiting: deque[EvaluationRequest] = deque()

    def capacity(self) -> int:
        return 1

    def submit(self, request: EvaluationRequest) -> None:
        self._waiting.append(request)

    def next_done(self, timeout_s: float) -> Done | None:
        """As in `Pool`, but it trains to the end, however long that takes."""
        return run_request(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        self._waiting.clear()


class RayPool:
    """Trains trials as Ray tasks: on this machine's cores, or on the cluster at `address`."""

    def __init__(
        self,
        cpus_per_trial: float,
        gpus_per_trial: float,
        max_concurrent: int | None,
        address: str | None,
    ) -> None:
        """Starts Ray on the loopback interface, or connects to the running cluster at `address`.

        Raises PoolError where there are fewer CPUs or GPUs than one trial asks for.
        """
        self._ray = start_ray(address)
        self._cpus, self._gpus, self._max_concurrent = cpus_per_trial, gpus_per_trial, max_concurrent
        options = {"num_cpus": cpus_per_trial, "num_gpus": gpus_per_trial, "max_retries": 0}
        self._task = self._ray.remote(**options)(run_request)
        self._actors: GpuActors[Done] | None = None
        if 0 < gpus_per_trial < 1:  # trials that share a GPU share a process, and so one copy of the frames
            self._actors = GpuActors(self._ray, run_request, trials_per_actor=int(1 / gpus_per_trial))
        self._running: dict[Any, EvaluationRequest] = {}
        if self.capacity() < 1:
            resources = self._ray.cluster_resources()
            self.close()
            raise PoolError(
                f"workers asks for {cpus_per_trial:g} CPUs and {gpus_per_trial:g} GPUs per trial; "
                f"expected at most {resources.get('CPU', 0):g} and {resources.get('GPU', 0):g}, all that Ray has"
            )

    def capacity(self) -> int:
        resources = self._ray.cluster_resources()
        fits = [resources.get("CPU", 0.0) / self._cpus] if self._cpus else []
        fits += [resources.get("GPU", 0.0) / self._gpus] if self._gpus else []
        return int(min([*fits, self._max_concurrent or float("inf")]))

    def submit(self, request: EvaluationRequest) -> None:
        reference = self._actors.submit(request) if self._actors else self._task.remote(request)
        self._running[reference] = request

    def next_done(self, timeout_s: float) -> Done | None:
        if not self._running:
            return None
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        if not done:
            return None
        request = self._running.pop(done[0])
        try:
            result: Done = self._ray.get(done[0])
        except self._ray.exceptions.RayError as error:  # the worker died: run_request itself lets nothing through
            if self._actors:
                self._actors.replace(done[0])
            return Failed(request, type(error).__name__, traceback.format_exc(), is_infrastructure=True)
        if self._actors:
            self._actors.free(done[0])
        return result

    def close(self) -> None:
        if self._actors:
            self._actors.close()
        self._running.clear()
        self._ray.shutdown()  # ends what runs; cancelling a task that ends just then crashes Ray 2.60


def run_request(request: EvaluationRequest) -> Done:
    """The outermost function of a worker: whatever a trial raises becomes a `Failed` with its traceback."""
    try:
        evaluations, rung = run_design(request)
        if rung is not None:
            return Paused(request.trial_number, rung, evaluations)
        return Completed(request.trial_number, evaluations)
    except Exception as error:  # a trial may fail in any way; the search decides what that means
        return Failed(request, type(error).__name__, traceback.format_exc(), is_infrastructure=False)


def start_ray(address: str | None) -> Any:
    """The module `ray`, connected to the cluster at `address`, or to a new one on the loopback interface."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_USAGE_STATS_REPORT_URL", "http://127.0.0.1:9/")
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray listens on all interfaces
    import ray  # reads the variables above when imported

    logging.getLogger("ray").setLevel(logging.ERROR)  # else it explains its token at every start

    variables = {"PYTHONPATH": str(PROJECT_FOLDER), "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    ray.init(
        address=address or "local",
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": variables},
        **({} if address else {"_node_ip_address": "127.0.0.1"}),
    )
    return ray
