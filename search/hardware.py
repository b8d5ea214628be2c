"""From the end of a search to its hardware reports: winners are promoted, and their builds waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from search.processes.interrupts import Interrupts
from search.processes.local_services import Service
from search.promotion import PromotionError, promote_point
from search.stored_point import StoredPoint
from storage.artifacts import ArtifactStore
from storage.builds import load_builds
from storage.database import Database
from storage.records import Build, BuildState

POLL_S = 1.0


def promote_winners(
    winners: Sequence[StoredPoint], on_notice: Callable[[str], None], on_step: Callable[[str], None]
) -> bool:
    """Queues their builds, and says of each what it is. False where one could not be promoted."""
    outcomes = [_promote(winner, on_notice, on_step) for winner in winners]
    return all(outcomes)


def _promote(winner: StoredPoint, on_notice: Callable[[str], None], on_step: Callable[[str], None]) -> bool:
    try:
        build = promote_point(winner, on_step)
    except PromotionError as error:
        on_notice(f"{winner.point.name} is not promoted: {error}")
        return False
    on_test = "" if build.test_accuracy is None else f", {build.test_accuracy:.2%} on the test part"
    others = ", ".join(metric.describe(winner.point) for metric in winner.config.objectives.metrics[1:])
    on_notice(
        f"{winner.point.name} is promoted: {winner.judgement} on validation{on_test}, "
        f"{others}; its build for {build.target.board}: {build.state.value}"
    )
    return True


def wait_for_builds(
    list_waiting: Callable[[], Sequence[Build]],
    worker: Service,
    interrupts: Interrupts,
    on_tick: Callable[[str], None],
) -> str | None:
    """Waits until no build waits any more. A sentence where the build worker ends before them, else None."""
    while list_waiting():
        if worker.exit_code is not None:
            return f"the build worker ended with exit code {worker.exit_code} before the builds; see {worker.log}"
        on_tick(f"building with FINN: {worker.last_line()}")
        with interrupts.breakable():
            time.sleep(POLL_S)
    return None


def list_builds_here(database: Database, artifacts: ArtifactStore, study_name: str) -> list[Build]:
    """The builds of a study that are queued or running, but for those whose files are not here."""
    return buildable(pending_builds(load_builds(database, study_name)), artifacts)


def pending_builds(builds: Sequence[Build]) -> list[Build]:
    """Those that are queued or running."""
    return [build for build in builds if build.state in (BuildState.QUEUED, BuildState.RUNNING)]


def buildable(builds: Sequence[Build], artifacts: ArtifactStore) -> list[Build]:
    """Those whose files lie under this artifacts folder."""
    return [b for b in builds if artifacts.path(b.model).is_file() and artifacts.path(b.reference_vectors).is_file()]


def latest_builds(builds: Sequence[Build]) -> list[Build]:
    """The last build of each network and target: one that failed and was queued anew counts by its new state."""
    latest = {(build.trial_number, build.stage, build.target): build for build in builds}
    return list(latest.values())
