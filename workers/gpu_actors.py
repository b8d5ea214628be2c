"""Ray actors for trials that share a GPU: each trial is a thread, and all use one copy of the frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from workers.requests import EvaluationRequest

Answer = TypeVar("Answer")
"""What comes back for a trial."""


class GpuWorker(Generic[Answer]):
    """What one actor runs. Its threads share the process, and so the frames on the device."""

    def __init__(self, run: Callable[[EvaluationRequest], Answer]) -> None:
        self._run = run

    def train(self, request: EvaluationRequest) -> Answer:
        """Calls `run`. On a GPU the thread has a stream of its own, so no trial waits for another's work."""
        if not torch.cuda.is_available():
            return self._run(request)
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            return self._run(request)


class GpuActors(Generic[Answer]):
    """Gives each trial to the actor with the fewest; starts another actor when all are full."""

    def __init__(
        self, ray: Any, run: Callable[[EvaluationRequest], Answer], trials_per_actor: int, gpus_per_actor: float = 1
    ) -> None:
        """`ray` is the library, started. An actor calls `run` in up to `trials_per_actor` threads at once."""
        self._ray, self._run, self._trials_per_actor = ray, run, trials_per_actor
        options = {"num_cpus": 0, "num_gpus": gpus_per_actor, "max_concurrency": trials_per_actor}
        self._make_actor = ray.remote(**options)(GpuWorker).remote
        self._running: dict[Any, list[Any]] = {}
        """Per actor, its unfinished trials."""

    def submit(self, request: EvaluationRequest) -> Any:
        """Ray's reference to the answer. Getting it raises RayError if the actor has died."""
        actor = min(self._running, key=lambda actor: len(self._running[actor]), default=None)
        if actor is None or len(self._running[actor]) >= self._trials_per_actor:
            actor = self._make_actor(self._run)
            self._running[actor] = []
        reference = actor.train.remote(request)
        self._running[actor].append(reference)
        return reference

    def free(self, reference: Any) -> None:
        """Call it when a trial is done: its place becomes free."""
        for running in self._running.values():
            if reference in running:
                running.remove(reference)

    def replace(self, reference: Any) -> None:
        """Call it when getting a trial raised RayError: its actor is ended, and another starts when it is needed."""
        for actor in [actor for actor, running in self._running.items() if reference in running]:
            self._ray.kill(actor)
            del self._running[actor]

    def close(self) -> None:
        """Ends the actors, and with them all that they train."""
        for actor in self._running:
            self._ray.kill(actor)
        self._running.clear()
