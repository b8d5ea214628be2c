"""The progress of making a twin: a bar with frames/s and the time left, or plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from storage.twin.file import OnFrames

PLAIN_INTERVAL_S = 10.0


@contextmanager
def show_frames(n_already: int, n_total: int) -> Iterator[OnFrames]:
    """Shows the progress of making frames. The `n_already` frames of an earlier call do not count for frames/s."""
    console = Console()
    if not console.is_terminal:
        yield _PlainLines(n_already)
        return
    columns = (TextColumn("{task.completed:,.0f} of {task.total:,.0f} frames"), BarColumn(), _Speed())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("frames", total=n_total, completed=n_already)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} frames/s" if task.speed else "")


class _PlainLines:
    def __init__(self, n_already: int) -> None:
        self._n_already = n_already
        self._started_at = self._shown_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._shown_at < PLAIN_INTERVAL_S:
            return
        self._shown_at = now
        frames_per_s = (done - self._n_already) / (now - self._started_at)
        left_s = round((total - done) / frames_per_s)
        print(
            f"{done:,} of {total:,} frames, {frames_per_s:,.0f} frames/s, {left_s // 60} min {left_s % 60} s left",
            flush=True,
        )
