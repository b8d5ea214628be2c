"""One Ray actor per GPU that trains several trials at once, each in a thread, all on one copy of the frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from workers.requests import EvaluationRequest

Result = TypeVar("Result")


class GpuWorker(Generic[Result]):
    """What one actor runs; its threads share the process and so the frames on the device."""

    def __init__(self, run: Callable[[EvaluationRequest], Result]) -> None:
        self._run = run

    def train(self, request: EvaluationRequest) -> Result:
        """`run`, where there is a GPU on a stream of the calling thread's own: no trial waits for another's work."""
        if not torch.cuda.is_available():
            return self._run(request)
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            return self._run(request)


class GpuActors(Generic[Result]):
    """Hands trials to actors, the emptiest first; an actor is started when all others are full."""

    def __init__(
        self, ray: Any, run: Callable[[EvaluationRequest], Result], trials_per_actor: int, gpus_per_actor: float = 1
    ) -> None:
        """`ray` is the started library. `run` is called in `trials_per_actor` threads of an actor at once."""
        self._ray, self._run, self._trials_per_actor = ray, run, trials_per_actor
        options = {"num_cpus": 0, "num_gpus": gpus_per_actor, "max_concurrency": trials_per_actor}
        self._make_actor = ray.remote(**options)(GpuWorker).remote
        self._running: dict[Any, list[Any]] = {}
        """Per actor, its unfinished trials."""

    def submit(self, request: EvaluationRequest) -> Any:
        """Ray's reference to the trial's result; getting it raises RayError where the actor died meanwhile."""
        actor = min(self._running, key=lambda actor: len(self._running[actor]), default=None)
        if actor is None or len(self._running[actor]) >= self._trials_per_actor:
            actor = self._make_actor(self._run)
            self._running[actor] = []
        reference = actor.train.remote(request)
        self._running[actor].append(reference)
        return reference

    def free(self, reference: Any) -> None:
        """To be called when a trial is done: its place can be taken."""
        for running in self._running.values():
            if reference in running:
                running.remove(reference)

    def replace(self, reference: Any) -> None:
        """To be called when getting a trial raised RayError: its actor takes no more of them, others start anew."""
        for actor in [actor for actor, running in self._running.items() if reference in running]:
            self._ray.kill(actor)
            del self._running[actor]

    def close(self) -> None:
        """Stops the actors with all that they train."""
        for actor in self._running:
            self._ray.kill(actor)
        self._running.clear()
