"""Records work on a GPU once as a CUDA graph: hundreds of launches of a step become one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP_RUNS = 3
"""How often a function runs before its capture, so that libraries have chosen and compiled their kernels. Torch's notes
on CUDA graphs ask for a few runs; their examples have 3."""


def capture(function: Callable[[], None], state: Sequence[Tensor], stream: torch.cuda.Stream) -> Callable[[], None]:
    """Records `function` on `stream`; each call of the returned function launches it on the current stream.

    The function must not wait for the device, and its tensors must stay where they are. `state` is all that it changes;
    the capture leaves it as it was. Threads may call at once: they wait for each other.
    """
    graph = torch.cuda.CUDAGraph()
    with _one_capture:  # entering torch.cuda.graph waits for the whole device, which would break another's capture
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            warm_up(function, state)
        # other threads may go on allocating meanwhile: only this thread's own calls can spoil the capture
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            function()
    return graph.replay


def warm_up(function: Callable[[], None], state: Sequence[Tensor]) -> None:
    """Runs the function a few times, each time from the same `state`, and restores it."""
    before = [tensor.detach().clone() for tensor in state]
    for _ in range(WARM_UP_RUNS):
        function()
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)


_one_capture = threading.Lock()
