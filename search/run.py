"""The main command: `python -m search.run spaces/dsc4.yaml` searches, promotes the winners and builds them."""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from urllib.parse import quote

import optuna
from rich.console import Console

from search.budget import choose_limits, describe_budget, describe_shortfall
from search.command_line import drop_extension, parse_arguments
from search.confirmation import ConfirmationError, list_missing, train_again
from search.hardware import buildable, list_builds_here, pending_builds, promote_winners, wait_for_builds
from search.hardware_estimates import HardwareEstimates, describe_unpruned
from search.live_report import LiveReport
from search.loop import Search, StopReason, run_search
from search.processes.build_machines import builds_for_vivado, run_vivado_workers
from search.processes.capacity import CapacityError, check_cluster, check_machine, open_pool
from search.processes.driver_lease import LeaseLostError, hold_study
from search.processes.interrupts import Interrupts, SearchInterrupted
from search.processes.local_services import (
    LOOPBACK,
    Service,
    ServiceError,
    choose_finn,
    find_free_port,
    run_build_worker,
    run_dashboard,
    run_estimate_worker,
)
from search.progress import ProgressDisplay, show_work
from search.promotion import Winners, choose_winners
from search.reports.study_report import count_trials
from search.reports.tables import open_console
from search.run_results import print_results
from search.strategy.warm_start import check_warm_start, enqueue_first_trials
from search.study import StudyError, list_differences, match_study, open_study
from search.study_check import print_check
from search.study_data import (
    check_input_quantizer,
    describe_dataset,
    open_dataset,
    prepare_shared_frames,
    request_frames,
)
from search.study_run import SEARCHING, StudyRun
from spaces.counts import count_of
from spaces.study_config import ConfigError, StudyConfig, load_study_config
from storage.artifacts import ArtifactError, ArtifactStore
from storage.builds import load_build, load_builds
from storage.commands import run_command
from storage.database import DatabaseError, open_database
from storage.dataset.radioml import DatasetError
from storage.leases import StudyLeaseError
from storage.provenance import collect_provenance
from storage.records import BuildState

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: failed on the way; 2: not started, for the printed reason; 130: interrupted."""
    args = parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if args.check:
            return print_check(args.study_file, args.artifacts, open_console())
        return run_study(args, open_console())
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
    except KeyboardInterrupt as interrupt:
        given = list(sys.argv[1:] if arguments is None else arguments)
        again = drop_extension(given) if isinstance(interrupt, StudyInterrupted) else given
        command = shlex.join(["python", "-m", "search.run", *again])
        print(f"interrupted; nothing is lost, go on with: {command}", file=sys.stderr)
        return EXIT_INTERRUPTED


class StudyInterrupted(KeyboardInterrupt):
    """Ctrl-C after the study was opened. The study keeps an extension, which the same command would add again."""


def run_study(args: argparse.Namespace, console: Console) -> int:
    """Checks all input before it writes the first file, then runs the study."""
    config = load_study_config(args.study_file)
    check_options(config, args)
    if args.ray_address is None:
        check_machine(config.workers)
    else:
        check_cluster(args.ray_address)
    choose_finn(args.finn)
    artifacts = ArtifactStore(args.artifacts)
    artifacts.check_can_write()
    with show_work(console) as on_progress:
        file = open_dataset(config, on_progress)
    check_input_quantizer(config, file)
    if not args.no_dashboard:
        find_free_port(args.dashboard_port)
    database = open_database(args.storage)
    config = match_study(config, database, describe_dataset(file))
    check_warm_start(config, database)
    with show_work(console) as on_progress:
        prepare_shared_frames(config, file, on_progress)
    interrupts = Interrupts()
    with hold_study(database, config.study.name) as lease, interrupts.watch():
        changed = list_differences(database, config.study.name)
        study = open_study(config, database, {**collect_provenance(), **describe_dataset(file)})
        first = enqueue_first_trials(study, config, database)
        limits = choose_limits(study, config, args.trials, args.extend, args.time_limit)
        display, report = ProgressDisplay(console), LiveReport(database, study, config)
        for line in (*changed, *([first] if first is not None else [])):
            display.notice(line)
        dataset = request_frames(config, file)
        search = Search(
            config, study, database, artifacts, dataset, lease, interrupts, limits, on_notice=display.notice
        )
        try:
            return _drive_to_results(StudyRun(args, file, search, display, report), console)
        except KeyboardInterrupt:
            raise StudyInterrupted from None


def check_options(config: StudyConfig, args: argparse.Namespace) -> None:
    """Raises StudyError for options that do not go with the study."""
    given = next((name for name in ("trials", "extend") if getattr(args, name) is not None), None)
    if config.stages and given is not None:
        raise StudyError(
            f"--{given} is {getattr(args, given)}; expected left out for a study with stages, which say their trials"
        )


def _drive_to_results(run: StudyRun, console: Console) -> int:
    exit_code = drive_study(run)
    print_results(run.search.study, run.report.load(), run.search.estimates, run.results, run.args.storage, console)
    return exit_code


def drive_study(run: StudyRun) -> int:
    """Searches, promotes and builds; returns the exit code. Raises SearchInterrupted after Ctrl-C."""
    counts, limits = count_trials(run.search.study), run.search.limits
    is_finished = counts.running == 0 and not limits.wants_more(counts)
    with ExitStack() as stack:
        will_build = not (is_finished or run.args.no_build or run.search.config.promotion.top == 0)
        worker = _start_build_worker(run, stack) if will_build else None
        if not (is_finished or run.args.no_dashboard):
            _start_dashboard(run, stack)
        stack.enter_context(run.display)
        if is_finished:
            run.display.notice(f"study {run.study_name} is complete: {describe_budget(counts, limits)}")
            if not run.search.config.stages:
                run.display.notice("--extend N adds N trials to it")
        elif not _search(run):
            return EXIT_FAILED
        with run.search.interrupts.breakable():
            is_promoted = _promote(run)
        exit_code = _finish_builds(run, worker, stack) if is_promoted else EXIT_FAILED
        return exit_code or _build_on_machines_with_vivado(run)


def _search(run: StudyRun) -> bool:
    """Runs the search. True where promotion follows."""
    search, args = run.search, run.args
    run.begin(SEARCHING if args.local else "starting Ray")
    if unpruned := describe_unpruned(search.config):
        run.display.notice(unpruned)
    with ExitStack() as stack:
        search.pool = stack.enter_context(closing(open_pool(search.config.workers, args.local, args.ray_address)))
        search.interrupts.install()  # Ray has handlers of its own
        search.started = time.monotonic()  # what the time limit counts from
        run.begin(SEARCHING)
        if search.config.asks_for_hardware:
            search.estimates = HardwareEstimates(search.database, search.config)
            if not args.no_estimates:
                search.find_estimate_problem = _start_estimate_worker(run, stack).describe_end
        search.on_change = lambda _: run.show()
        outcome = run_search(search)
    run.display.notice(f"the search ends: {outcome.message}")
    if shortfall := describe_shortfall(search.study, search.limits):
        run.display.notice(shortfall)
    if outcome.reason is StopReason.INTERRUPTED:
        raise SearchInterrupted
    return outcome.reason not in (StopReason.FAILURES, StopReason.NO_ESTIMATES)


def _promote(run: StudyRun) -> bool:
    """Sends the winners to the build queue. False where one could not be promoted."""
    try:
        winners = _confirm(run)
    except ConfirmationError as error:
        run.display.notice(str(error))
        return False
    run.display.notice(winners.reason)
    return promote_winners([run.stored_point(one) for one in winners.points], run.display.notice, run.begin)


def _confirm(run: StudyRun) -> Winners:
    """The winners, after each was trained with as many seeds as the study asks for, and is still one."""
    winners = choose_winners(run.report.load())
    if not winners.unconfirmed:
        return winners
    search, args = run.search, run.args

    def on_step(activity: str) -> None:
        search.lease.check()
        run.begin(activity)

    with closing(open_pool(search.config.workers, args.local, args.ray_address)) as pool:
        search.interrupts.install()  # Ray has handlers of its own
        while winners.unconfirmed:
            missing = list_missing(search.place, run.report.load(), winners.unconfirmed)
            train_again(pool, missing, search.database, search.config.workers.max_attempts, on_step)
            report = run.report.reload()
            for point in winners.unconfirmed:
                run.display.notice(f"{point.name} has {report.judge(point)}")
            winners = choose_winners(report)
    return winners


def _finish_builds(run: StudyRun, worker: Service | None, stack: ExitStack) -> int:
    search = run.search
    pending = pending_builds(load_builds(search.database, run.study_name))
    if not pending:
        return 0
    if run.args.no_build:
        n_queued = sum(build.state is BuildState.QUEUED for build in pending)
        if n_queued:
            run.display.notice(f"{count_of(n_queued, 'build')} queued; python -m fpga.run builds what is queued")
        if n_queued < len(pending):
            run.display.notice(f"{count_of(len(pending) - n_queued, 'build')} running, in a worker of its own")
        return 0
    here = buildable(pending, search.artifacts)
    for build in pending:
        if build not in here:
            run.display.notice(f"the build of {build.network} waits for a worker that has {build.model}")
    if here:
        worker = worker or _start_build_worker(run, stack)
        list_waiting = functools.partial(list_builds_here, search.database, search.artifacts, run.study_name)
        problem = wait_for_builds(list_waiting, worker, search.interrupts, run.begin)
        if problem:
            run.display.notice(problem)
            return EXIT_FAILED
    has_failed = any(load_build(search.database, build.build_id).state is BuildState.FAILED for build in here)
    return EXIT_FAILED if has_failed or len(here) < len(pending) else 0


def _build_on_machines_with_vivado(run: StudyRun) -> int:
    """Runs the levels after code generation on the cluster's machines with Vivado."""
    waiting = builds_for_vivado(load_builds(run.search.database, run.study_name))
    if run.args.ray_address is None or run.args.no_build or not waiting:
        return 0
    run.begin(f"building with Vivado: {len(waiting)} builds")
    address, artifacts = run.args.ray_address, run.search.artifacts.root
    return run_vivado_workers(address, run.args.storage, artifacts, run.display.notice, run.search.interrupts)


def _start_build_worker(run: StudyRun, stack: ExitStack) -> Service:
    """Started early: it makes FINN's environment while trials train."""
    log = run.results / "build_worker.log"
    return stack.enter_context(run_build_worker(run.args.storage, run.search.artifacts.root, log))


def _start_estimate_worker(run: StudyRun, stack: ExitStack) -> Service:
    log = run.results / "estimate_worker.log"
    n_processes = run.search.config.fpga.estimate_processes
    return stack.enter_context(run_estimate_worker(run.args.storage, run.search.artifacts.root, n_processes, log))


def _start_dashboard(run: StudyRun, stack: ExitStack) -> None:
    """At a port that is free now: another run may have taken the first one while the data set was prepared."""
    log = run.results / "dashboard.log"
    name, port = run.study_name, find_free_port(run.args.dashboard_port)
    run.dashboard = stack.enter_context(run_dashboard(run.args.storage, run.search.artifacts.root, name, port, log))
    run.dashboard_url = f"http://{LOOPBACK}:{port}/pages/studies/{quote(name)}"
    run.display.notice(f"pages: {run.dashboard_url}")


if __name__ == "__main__":
    run_command(main)
