"""The main command: `python -m search.run spaces/dsc4.yaml` searches, promotes the winners and builds them."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from rich.console import Console

from search.budget import Limits, choose_limits, describe_budget
from search.build_machines import builds_for_vivado, run_vivado_workers
from search.capacity import CapacityError, check_cluster, check_machine, open_pool
from search.command_line import drop_extension, parse_arguments
from search.driver_lease import DriverLease, LeaseLostError, hold_study
from search.hardware import buildable, latest_builds, pending_builds, promote_winners, wait_for_builds
from search.hardware_estimates import HardwareEstimates
from search.interrupts import Interrupts, SearchInterrupted
from search.local_services import (
    LOOPBACK,
    Service,
    ServiceError,
    choose_finn,
    find_free_port,
    run_build_worker,
    run_dashboard,
    run_estimate_worker,
)
from search.progress import ProgressDisplay, RunStatus, show_work
from search.run_results import print_results
from search.study import StudyError, check_is_same_study, open_study
from search.study_data import describe_dataset, open_dataset, prepare_shared_frames
from search.study_report import StudyReport, count_trials, make_study_report
from spaces.study_config import ConfigError, StudyConfig, load_study_config
from storage.artifacts import ArtifactError, ArtifactStore
from storage.builds import load_build, load_builds
from storage.database import Database, DatabaseError, open_database
from storage.dataset.radioml import DatasetError, RadioMLFile
from storage.leases import StudyLeaseError
from storage.provenance import collect_provenance
from storage.records import BuildState

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: failed on the way; 2: nothing was started, for the reason printed; 130: interrupted."""
    args = parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return run_study(args, _open_console())
    except (
        ArtifactError,
        ConfigError,
        DatasetError,
        DatabaseError,
        CapacityError,
        ServiceError,
        StudyError,
        StudyLeaseError,
    ) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    except LeaseLostError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        given = list(sys.argv[1:] if arguments is None else arguments)
        command = shlex.join(["python", "-m", "search.run", *(drop_extension(given) if args.extend is None else given)])
        print(f"interrupted; nothing is lost, go on with: {command}", file=sys.stderr)
        return EXIT_INTERRUPTED


def run_study(args: argparse.Namespace, console: Console) -> int:
    """Checks everything that can be wrong before the first file is written, then drives the study."""
    config = load_study_config(args.study_file)
    if args.ray_address is None:
        check_machine(config.workers)
    else:
        check_cluster(args.ray_address)
    choose_finn(args.finn)
    artifacts = ArtifactStore(args.artifacts)
    artifacts.check_can_write()
    with show_work(console) as on_progress:
        file = open_dataset(config, on_progress)
    if not args.no_dashboard:
        find_free_port(args.dashboard_port)
    database = open_database(args.storage)
    check_is_same_study(config, database, describe_dataset(file))
    with show_work(console) as on_progress:
        prepare_shared_frames(config, file, on_progress)
    interrupts = Interrupts()
    with hold_study(database, config.study.name) as lease, interrupts.watch():
        study = open_study(config, database, {**collect_provenance(), **describe_dataset(file)})
        limits = choose_limits(study, config, args.trials, args.extend, args.time_limit)
        args.extend = None  # the study keeps it from here on; the command that goes on must not add it again
        display = ProgressDisplay(console)
        run = Run(args, config, file, database, artifacts, study, lease, interrupts, limits, display)
        exit_code = drive_study(run)
        print_results(run.report(), run.estimates, run.results, args.storage, console)
        return exit_code


@dataclass
class Run:
    """One run of a study: its parts, and what it does just now."""

    args: argparse.Namespace
    config: StudyConfig
    file: RadioMLFile
    database: Database
    artifacts: ArtifactStore
    study: optuna.Study
    lease: DriverLease
    interrupts: Interrupts
    limits: Limits
    display: ProgressDisplay
    dashboard: Service | None = None
    dashboard_url: str | None = None
    activity: str = "searching"
    estimates: HardwareEstimates | None = None
    """None where the study asks for no hardware, or is finished."""
    n_complete_at_start: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def results(self) -> Path:
        """Folder of tables, pages and logs: the one that holds the artifacts' folder."""
        return self.artifacts.root.parent

    def report(self) -> StudyReport:
        """The study now."""
        builds = load_builds(self.database, self.config.study.name)
        return make_study_report(self.database, self.study, self.config, latest_builds(builds))

    def begin(self, activity: str) -> None:
        """Shows what the run does from now on."""
        self.activity = activity
        self.show()

    def show(self, running: Sequence[tuple[int, Path]] = (), waiting: Sequence[int] = ()) -> None:
        """Brings the display up to date.

        `running` holds the trials with the pool, and their folders; `waiting` those that wait for an estimate.
        """
        if self.dashboard is not None and (problem := self.dashboard.describe_end()):
            self.display.notice(problem)
            self.dashboard = self.dashboard_url = None
        self.display.update(
            RunStatus(
                report=self.report(),
                n_wanted=self.limits.n_complete,
                n_complete_at_start=self.n_complete_at_start,
                running=tuple(running),
                waiting=tuple(waiting),
                started=self.started,
                time_limit_s=self.limits.time_limit_s,
                dashboard_url=self.dashboard_url,
                activity=self.activity,
            )
        )


def drive_study(run: Run) -> int:
    """Search, promotion, builds; the exit code. Raises SearchInterrupted after Ctrl-C."""
    counts = count_trials(run.study)
    run.n_complete_at_start = counts.complete
    is_finished = counts.running == 0 and not run.limits.wants_more(counts)
    with ExitStack() as stack:
        will_build = not (is_finished or run.args.no_build or run.config.promotion.top == 0)
        worker = _start_build_worker(run, stack) if will_build else None
        if not (is_finished or run.args.no_dashboard):
            _start_dashboard(run, stack)
        stack.enter_context(run.display)
        if is_finished:
            run.display.notice(f"study {run.config.study.name} is complete: {describe_budget(counts, run.limits)}")
            run.display.notice("--extend N adds N trials to it")
        elif not _search(run):
            return EXIT_FAILED
        with run.interrupts.breakable():
            is_promoted = promote_winners(
                run.database, run.artifacts, run.config, run.file, run.report(), run.display.notice, run.begin
            )
        exit_code = _finish_builds(run, worker, stack) if is_promoted else EXIT_FAILED
        return exit_code or _build_on_machines_with_vivado(run)


def _search(run: Run) -> bool:
    """Whether the study goes on to promotion."""
    from search.loop import Search, StopReason, run_search  # imports torch and Ray, which a finished study needs not
    from workers.requests import DatasetRequest

    dataset = DatasetRequest(
        str(run.file.path.resolve()),
        run.config.dataset.frames_per_cell,
        run.config.dataset.min_training_snr_db,
        run.config.dataset.validation_fraction,
    )
    run.show()
    with ExitStack() as stack:
        pool = stack.enter_context(closing(open_pool(run.config.workers, run.args.local, run.args.ray_address)))
        run.interrupts.install()  # Ray has handlers of its own
        run.estimates = HardwareEstimates(run.database, run.config) if run.config.asks_for_hardware else None
        has_worker = run.estimates is not None and not run.args.no_estimates
        worker = _start_estimate_worker(run, stack) if has_worker else None
        outcome = run_search(
            Search(
                run.config,
                run.study,
                run.database,
                run.artifacts,
                dataset,
                pool,
                run.lease,
                run.interrupts,
                run.limits,
                on_change=lambda search: run.show(
                    [(n, search.requests[n].folder) for n in search.running], tuple(search.waiting)
                ),
                on_notice=run.display.notice,
                estimates=run.estimates,
                find_estimate_problem=lambda: worker.describe_end() if worker else None,
                started=run.started,
            )
        )
    run.display.notice(f"the search ends: {outcome.message}")
    if outcome.reason is StopReason.INTERRUPTED:
        raise SearchInterrupted
    return outcome.reason not in (StopReason.FAILURES, StopReason.NO_ESTIMATES)


def _finish_builds(run: Run, worker: Service | None, stack: ExitStack) -> int:
    pending = pending_builds(load_builds(run.database, run.config.study.name))
    if not pending:
        return 0
    if run.args.no_build:
        run.display.notice("builds are queued; python -m fpga.run builds them")
        return 0
    here = buildable(pending, run.artifacts)
    for build in pending:
        if build not in here:
            run.display.notice(f"the build of trial {build.trial_number} waits for a worker that has {build.model}")
    if here:
        worker = worker or _start_build_worker(run, stack)
        name = run.config.study.name
        problem = wait_for_builds(run.database, run.artifacts, name, worker, run.interrupts, run.begin)
        if problem:
            run.display.notice(problem)
            return EXIT_FAILED
    has_failed = any(load_build(run.database, build.build_id).state is BuildState.FAILED for build in here)
    return EXIT_FAILED if has_failed or len(here) < len(pending) else 0


def _build_on_machines_with_vivado(run: Run) -> int:
    """The levels behind code generation, where the run's cluster has machines for them."""
    waiting = builds_for_vivado(load_builds(run.database, run.config.study.name))
    if run.args.ray_address is None or run.args.no_build or not waiting:
        return 0
    run.begin(f"building with Vivado: {len(waiting)} builds")
    address, artifacts = run.args.ray_address, run.artifacts.root
    return run_vivado_workers(address, run.args.storage, artifacts, run.display.notice, run.interrupts)


def _start_build_worker(run: Run, stack: ExitStack) -> Service:
    """Early, for it makes FINN's environment while trials train."""
    log = run.results / "build_worker.log"
    return stack.enter_context(run_build_worker(run.args.storage, run.artifacts.root, log))


def _start_estimate_worker(run: Run, stack: ExitStack) -> Service:
    log = run.results / "estimate_worker.log"
    n_processes = run.config.fpga.estimate_processes
    return stack.enter_context(run_estimate_worker(run.args.storage, run.artifacts.root, n_processes, log))


def _start_dashboard(run: Run, stack: ExitStack) -> None:
    """At a port that is free just now: while the data set was prepared, another run may have taken the first one."""
    log = run.results / "dashboard.log"
    name, port = run.config.study.name, find_free_port(run.args.dashboard_port)
    run.dashboard = stack.enter_context(run_dashboard(run.args.storage, run.artifacts.root, name, port, log))
    run.dashboard_url = f"http://{LOOPBACK}:{port}"


def _open_console() -> Console:
    """On today's stdout, whatever libraries redirect later; wide enough for the tables where there is no terminal."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=120)


if __name__ == "__main__":
    sys.exit(main())
