"""The progress of a run: a live panel on a terminal, else plain lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.reports.study_report import StudyReport
from storage.records import Build
from workers.requests import PROGRESS_FILE

PLAIN_INTERVAL_S = 30.0


@contextmanager
def show_work(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for work before the search. Yields a function of the activity, what is done, and the total."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def on_progress(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                console.print(activity, highlight=False)
                tasks[activity] = progress.add_task(activity)
            progress.update(tasks[activity], completed=done, total=total)

        yield on_progress


@dataclass(frozen=True)
class RunStatus:
    """One moment of a run."""

    report: StudyReport
    n_wanted: int
    """Complete trials at which the study ends."""
    n_trained_at_start: int
    running: tuple[tuple[int, Path], ...]
    """Trials in the pool, each with the folder of its progress.json."""
    waiting: tuple[int, ...]
    """Trials that are trained and wait for FINN's estimate."""
    started: float
    """time.monotonic() at the start of the run."""
    time_limit_s: float | None
    dashboard_url: str | None
    activity: str
    """What the run is doing."""


class ProgressDisplay:
    """Shows the latest status. Between updates, the clock and the epochs of running trials go on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: RunStatus | None = None
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=2, transient=True, redirect_stdout=False
        )
        self._last_line, self._last_activity, self._last_time = "", "", 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, status: RunStatus) -> None:
        """Shows this status from now on."""
        self._status = status
        if not self._console.is_terminal:
            self._print_if_new(status)

    def notice(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        return Text("") if self._status is None else render_status(self._status)

    def _print_if_new(self, status: RunStatus) -> None:
        line, now = plain_line(status), time.monotonic()
        clock = f"[{format_duration(now - status.started)}]"
        if status.activity != self._last_activity:
            self.notice(f"{clock} {status.activity}")
            self._last_activity = status.activity
        if line != self._last_line or now - self._last_time >= PLAIN_INTERVAL_S:
            self.notice(f"{clock} {line}")
            self._last_line, self._last_time = line, now


def render_status(status: RunStatus) -> RenderableType:
    """The live panel."""
    facts = Table.grid(padding=(0, 2))
    n_complete = min(status.report.counts.trained, status.n_wanted)
    facts.add_row("", ProgressBar(total=status.n_wanted, completed=n_complete, width=60))
    for name, value in _facts(status):
        facts.add_row(Text(name, style="dim"), Text(value))
    running = [Text(_running_line(number, folder), style="cyan") for number, folder in status.running]
    waiting = [Text(f"  trial {number}: trained, waits for FINN's estimate", style="cyan") for number in status.waiting]
    return Group(facts, *running, *waiting)


def plain_line(status: RunStatus) -> str:
    """The status in one line, without clock and epochs."""
    counts, builds = status.report.counts, _describe_builds(status.report.builds)
    parts = [
        f"{counts.complete} of {status.n_wanted} trials complete",
        counts.describe_others(),
        *([f"{len(status.waiting)} wait for an estimate"] if status.waiting else []),
        f"best feasible: {_describe_best(status.report)}",
        f"front {len(status.report.front)}",
        f"hypervolume {status.report.hypervolume:.4f}",
        *([f"builds: {builds}"] if builds else []),
    ]
    return ", ".join(parts)


def estimate_seconds_left(status: RunStatus, now: float) -> float | None:
    """From the rate of this run, at most the time limit; None before its first complete trial."""
    elapsed = now - status.started
    n_done = status.report.counts.trained - status.n_trained_at_start
    n_left = max(0, status.n_wanted - status.report.counts.trained)
    to_limit = None if status.time_limit_s is None else max(0.0, status.time_limit_s - elapsed)
    if n_done <= 0:
        return to_limit
    by_rate = elapsed / n_done * n_left
    return by_rate if to_limit is None else min(by_rate, to_limit)


def format_duration(seconds: float) -> str:
    """Such as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _facts(status: RunStatus) -> list[tuple[str, str]]:
    counts = status.report.counts
    builds = _describe_builds(status.report.builds)
    return [
        ("study", f"{status.report.study_name}: {status.activity}"),
        (
            "trials",
            f"{counts.complete} of {status.n_wanted} complete, {len(status.running)} running, "
            f"{counts.describe_others()}",
        ),
        ("best feasible", _describe_best(status.report)),
        ("front", f"{len(status.report.front)} points, hypervolume {status.report.hypervolume:.4f}"),
        *([("builds", builds)] if builds else []),
        ("time", _describe_time(status, time.monotonic())),
        *([("dashboard", status.dashboard_url)] if status.dashboard_url else []),
    ]


def _describe_time(status: RunStatus, now: float) -> str:
    elapsed = f"{format_duration(now - status.started)} elapsed"
    if status.report.counts.trained >= status.n_wanted:  # promotion and builds take an unknown time
        return elapsed
    seconds_left = estimate_seconds_left(status, now)
    return f"{elapsed}, {'?' if seconds_left is None else format_duration(seconds_left)} left"


def _describe_best(report: StudyReport) -> str:
    best = report.best_feasible
    if best is not None:
        others = ", ".join(objective.metric.describe(best) for objective in report.objectives[1:])
        return f"{best.name}, {best.accuracy:.2%} at {others}"
    if not report.front:
        return "none yet"
    most_accurate = max(report.front, key=lambda point: point.accuracy)
    return f"none yet; {most_accurate.accuracy:.2%} of {report.threshold:.2%} reached"


def _describe_builds(builds: Sequence[Build]) -> str:
    return ", ".join(f"{build.network} {build.state.value}" for build in builds)


def _running_line(trial_number: int, folder: Path) -> str:
    try:
        progress = json.loads((folder / PROGRESS_FILE).read_text())
        return f"  trial {trial_number}: stage {progress['stage']}, epoch {progress['epoch']} of {progress['epochs']}"
    except (OSError, ValueError, KeyError):
        return f"  trial {trial_number}: waits for a worker, or loads its data"
