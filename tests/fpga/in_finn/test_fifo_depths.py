"""With the computed depth fork, branch and sum run at full rate; with less than windows need they never end."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest

from fpga.in_finn.fifo_depths import PIPELINE_CYCLES, BranchLayer, count_pixels_in_branch

FORK_CYCLES = 3

N_PIXELS = 512

BRANCHES = {
    "window of 21 among fast layers": [
        BranchLayer(3, 0),
        BranchLayer(1, 10),
        BranchLayer(3, 0),
        BranchLayer(3, 0),
        BranchLayer(3, 0),
        BranchLayer(3, 0),
    ],
    "slow layer behind a window of 5": [BranchLayer(3, 0), BranchLayer(2, 2), BranchLayer(24, 0), BranchLayer(3, 0)],
    "two windows": [BranchLayer(4, 4), BranchLayer(6, 0), BranchLayer(4, 7), BranchLayer(2, 0)],
}


class SimulatedLayer:
    """Takes a pixel when its two places are not full, works on one at a time, gives it after its pipeline."""

    def __init__(self, layer: BranchLayer) -> None:
        self.layer = layer
        self.n_taken = self.n_begun = 0
        self.free_at = 0.0
        self.finished: deque[float] = deque()

    def step(self, now: float) -> None:
        needed = min(self.n_begun + 1 + self.layer.lookahead, N_PIXELS)  # beyond the frame's end lies padding
        if self.n_begun < N_PIXELS and self.n_taken >= needed and now >= self.free_at and len(self.finished) < 8 + 16:
            self.n_begun += 1
            self.free_at = now + self.layer.cycles
            self.finished.append(self.free_at + PIPELINE_CYCLES)

    @property
    def has_room(self) -> bool:
        return self.n_taken < self.n_begun + self.layer.lookahead + 2

    def has_output(self, now: float) -> bool:
        return bool(self.finished) and self.finished[0] <= now


def simulate(layers: Sequence[BranchLayer], depth: int, max_cycles: int) -> int | None:
    """Clock cycles until the last sum of a frame; None where it did not come within `max_cycles`."""
    branch = [SimulatedLayer(layer) for layer in layers]
    n_forked = n_summed = 0
    fork_free_at = 0
    for now in range(max_cycles):
        if n_forked > n_summed and branch[-1].has_output(now):
            branch[-1].finished.popleft()
            n_summed += 1
            if n_summed == N_PIXELS:
                return now
        for before, behind in zip(branch[-2::-1], branch[:0:-1], strict=True):
            if before.has_output(now) and behind.has_room:
                before.finished.popleft()
                behind.n_taken += 1
        if n_forked < N_PIXELS and now >= fork_free_at and branch[0].has_room and n_forked - n_summed < depth:
            n_forked += 1
            branch[0].n_taken += 1
            fork_free_at = now + FORK_CYCLES
        for layer in branch:
            layer.step(now)
    return None


@pytest.mark.parametrize("name", list(BRANCHES))
def test_computed_depth_costs_no_time(name: str) -> None:
    layers = BRANCHES[name]

    depth = count_pixels_in_branch(FORK_CYCLES, layers)

    unlimited = simulate(layers, N_PIXELS, 100_000)
    assert unlimited is not None
    assert simulate(layers, depth, 100_000) == unlimited
    assert depth < N_PIXELS // 4


@pytest.mark.parametrize("name", list(BRANCHES))
def test_depth_below_what_windows_need_is_a_deadlock(name: str) -> None:
    layers = BRANCHES[name]

    assert simulate(layers, sum(layer.lookahead for layer in layers), 100_000) is None


def test_half_the_depth_is_slower() -> None:
    layers = BRANCHES["window of 21 among fast layers"]

    half = simulate(layers, count_pixels_in_branch(FORK_CYCLES, layers) // 2, 100_000)

    unlimited = simulate(layers, N_PIXELS, 100_000)
    assert half is not None
    assert unlimited is not None
    assert half > 1.2 * unlimited
