"""From the end of a search to its hardware reports: winners are promoted, and their builds waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from search.interrupts import Interrupts
from search.local_services import Service
from search.promotion import PromotionError, choose_winners, promote_trial
from search.study_report import StudyReport
from spaces.study_config import StudyConfig
from storage.artifacts import ArtifactStore
from storage.builds import load_builds
from storage.database import Database
from storage.dataset.radioml import RadioMLFile
from storage.records import Build, BuildState

POLL_S = 1.0


def promote_winners(
    database: Database,
    artifacts: ArtifactStore,
    config: StudyConfig,
    file: RadioMLFile,
    report: StudyReport,
    on_notice: Callable[[str], None],
    on_step: Callable[[str], None],
) -> bool:
    """Queues the builds of the study's winners, and says which and why. False where one could not be promoted."""
    choice = choose_winners(report, config.promotion.top)
    on_notice(choice.reason)
    is_done = True
    for trial in choice.trials:
        try:
            build = promote_trial(database, artifacts, config, file, trial, on_step)
        except PromotionError as error:
            on_notice(f"trial {trial.trial_number} is not promoted: {error}")
            is_done = False
            continue
        measured = "" if build.test_accuracy is None else f", {build.test_accuracy:.2%} on the test part"
        others = ", ".join(objective.metric.describe(trial) for objective in report.objectives[1:])
        on_notice(
            f"trial {trial.trial_number} is promoted: {trial.accuracy:.2%} on validation{measured}, "
            f"{others}; its build for {build.target.board}: {build.state.value}"
        )
    return is_done


def wait_for_builds(
    database: Database,
    artifacts: ArtifactStore,
    study_name: str,
    worker: Service,
    interrupts: Interrupts,
    on_tick: Callable[[str], None],
) -> str | None:
    """Waits until each build of the study has ended, but for those whose files are not here.

    A sentence where the build worker ends before them, else None.
    """
    while buildable(pending_builds(load_builds(database, study_name)), artifacts):
        if worker.exit_code is not None:
            return f"the build worker ended with exit code {worker.exit_code} before the builds; see {worker.log}"
        on_tick(f"building with FINN: {worker.last_line()}")
        with interrupts.breakable():
            time.sleep(POLL_S)
    return None


def pending_builds(builds: Sequence[Build]) -> list[Build]:
    """Those that are queued or running."""
    return [build for build in builds if build.state in (BuildState.QUEUED, BuildState.RUNNING)]


def buildable(builds: Sequence[Build], artifacts: ArtifactStore) -> list[Build]:
    """Those whose files lie under this artifacts folder."""
    return [b for b in builds if artifacts.path(b.model).is_file() and artifacts.path(b.reference_vectors).is_file()]


def latest_builds(builds: Sequence[Build]) -> list[Build]:
    """The last build of each trial and target: one that failed and was queued anew counts by its new state."""
    latest = {(build.trial_number, build.target): build for build in builds}
    return list(latest.values())
