"""The page of all builds: the queue, then what is finished."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.build_text import build_sentences
from spaces.metrics import BRAM, DSP, LATENCY, LUT, THROUGHPUT
from storage.builds import load_builds
from storage.database import Database
from storage.records import Build, BuildState
from storage.studies import list_studies

METRICS = (LUT, BRAM, DSP, THROUGHPUT, LATENCY)

COLUMNS = ("build", "state", "level", "board", "frames/s asked", *(metric.column for metric in METRICS), "same class")


@dataclass(frozen=True)
class BuildRow:
    """One build."""

    study: str
    trial: int
    stage: int
    name: str
    cells: tuple[str, ...]
    """After the name, under COLUMNS."""
    text: str
    log_tail: str | None


@dataclass(frozen=True)
class BuildsView:
    """The builds of all studies."""

    columns: tuple[str, ...]
    waiting: tuple[BuildRow, ...]
    """Queued or running, the oldest first."""
    finished: tuple[BuildRow, ...]
    """The newest first."""


def builds_view(database: Database) -> BuildsView:
    """All builds of the database."""
    builds = [build for name in list_studies(database) for build in load_builds(database, name)]
    pending = (BuildState.QUEUED, BuildState.RUNNING)
    waiting = sorted((b for b in builds if b.state in pending), key=lambda build: build.build_id)
    finished = sorted((b for b in builds if b.state not in pending), key=lambda build: -build.build_id)
    return BuildsView(COLUMNS, tuple(map(_row, waiting)), tuple(map(_row, finished)))


def _row(build: Build) -> BuildRow:
    report = build.report
    numbers: tuple[str, ...] = ("",) * (len(METRICS) + 1)
    if report is not None:
        estimate = report.as_estimate()
        equal = f"{report.n_classes_equal} of {report.n_frames_verified}"
        numbers = (*(metric.number(metric.read_field(estimate)) for metric in METRICS), equal)
    level = "" if build.level is None else build.level.value
    return BuildRow(
        study=build.study_name,
        trial=build.trial_number,
        stage=build.stage,
        name=f"{build.study_name}, {build.network}",
        cells=(build.state.value, level, build.target.board, f"{build.target.target_fps:,}", *numbers),
        text=" ".join(build_sentences(build)),
        log_tail=build.log_tail,
    )
