"""The estimate worker with FINN: each estimate made once, whoever is killed meanwhile, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import update

from fpga.estimate_worker import EstimateWorker, main, run_queue
from fpga.toolchain.finn import Finn, FinnKind
from fpga.toolchain.fork_server import EstimatorPythons, start_fork_servers
from fpga.toolchain.process_group import LEAST
from spaces.architecture import ArchitectureConfig, Block, GlobalPool, InputQuantizer
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.estimates import load_estimates, request_estimate
from storage.leases import make_lease_owner
from storage.records import BuildTarget, Estimate, EstimateState
from storage.tables import estimates
from tests.fpga.exported_networks import ZCU111, conv, linear
from tests.fpga.running_processes import find_users, is_running, wait_until


def architecture(channels: int = 4, first: tuple[Block, ...] = (InputQuantizer(),)) -> ArchitectureConfig:
    blocks = (*first, conv(channels, stride=2), GlobalPool(), linear(24, 4))
    return ArchitectureConfig(blocks=blocks, frame_length=32)


def deep_architecture(channels: int) -> ArchitectureConfig:
    """Its estimate takes many seconds."""
    return architecture(channels, (InputQuantizer(), *[conv(32)] * 16))


def request(database: Database, channels: int = 4, target: BuildTarget = ZCU111, timeout_s: int = 300) -> str:
    return request_estimate(database, architecture(channels), target, timeout_s).key


def load(database: Database, key: str) -> Estimate:
    return load_estimates(database, [key])[key]


def start_worker(database: Database, store: ArtifactStore, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpga.estimate_worker"]
    places = ["--storage", database.url, "--artifacts", str(store.root)]
    return subprocess.Popen([*command, *places, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def find_finn(store: ArtifactStore) -> list[int]:
    """What prints to FINN's log: the call, and behind a fork server its fork."""
    return find_users(store.root.glob("estimates/*/finn.log"))


def find_exports(store: ArtifactStore) -> list[int]:
    return find_users(store.root.glob("estimates/*/export.log"))


def has_finished_step(store: ArtifactStore) -> bool:
    """True within a second of the first: all steps of a tiny network take a few."""
    return any(store.root.glob("estimates/*/output/intermediate_models/step_*.onnx"))


def left_files(store: ArtifactStore) -> list[str]:
    return sorted(path.name for path in store.root.glob("estimates/*"))


@pytest.fixture(scope="module")
def pythons(finn: Finn) -> Iterator[EstimatorPythons]:
    """As `main` starts them, once for all tests."""
    with start_fork_servers(finn, LEAST) as pythons:
        yield pythons


@pytest.fixture
def estimate_worker(
    database: Database, store: ArtifactStore, pythons: EstimatorPythons, events: list[str]
) -> EstimateWorker:
    return EstimateWorker(database, store, pythons, make_lease_owner(), Event(), events.append)


@pytest.mark.slow
def test_estimate_is_made_and_leaves_no_files(
    estimate_worker: EstimateWorker, database: Database, store: ArtifactStore, events: list[str]
) -> None:
    key = request(database)

    assert run_queue(estimate_worker, is_draining=True) == 1

    done = load(database, key)
    assert (done.state, done.attempt, done.message) == (EstimateState.ESTIMATED, 1, None)
    assert done.hardware is not None
    assert done.hardware.lut > 100
    assert done.hardware.throughput_fps >= ZCU111.target_fps
    assert 0 < done.hardware.latency_us < 100
    assert done.hardware.available is not None
    assert done.hardware.available.lut == 425_000
    assert left_files(store) == []
    assert events[0] == "waiting for estimates"
    assert re.fullmatch(
        rf"estimate {key[:8]} \(attempt 1, ZCU111\): \d+ LUT, \d+ BRAM18, \d+ DSP, \d+ frames/s, \d+ us, after \d+ s",
        events[1],
    )
    assert events[2:] == ["no estimate waits"]


@pytest.mark.slow
def test_estimate_is_made_without_fork_servers_too(
    estimate_worker: EstimateWorker, database: Database, finn: Finn
) -> None:
    plain = replace(estimate_worker, pythons=EstimatorPythons(Path(sys.executable), finn))
    keys = [request(database), request(database, target=replace(ZCU111, output="scores"))]

    assert run_queue(plain, is_draining=True) == 2

    assert {load(database, key).state for key in keys} == {EstimateState.ESTIMATED}


@pytest.mark.slow
def test_requested_again_it_is_not_made_again(estimate_worker: EstimateWorker, database: Database) -> None:
    key = request(database)
    run_queue(estimate_worker, is_draining=True)
    done = load(database, key)

    assert request_estimate(database, architecture(), ZCU111, 300) == done
    assert run_queue(estimate_worker, is_draining=True) == 0


@pytest.mark.slow
def test_two_workers_with_two_processes_make_each_of_six_once(
    database: Database, store: ArtifactStore, finn: Finn
) -> None:
    keys = [request(database, channels) for channels in (2, 3, 4, 5, 6)]
    keys.append(request(database, 4, replace(ZCU111, target_fps=50_000)))

    workers = [start_worker(database, store, "--drain", "--processes", "2") for _ in range(2)]
    outputs = [process.communicate(timeout=400)[0] for process in workers]

    done = [load(database, key) for key in keys]
    assert {(estimate.state, estimate.attempt) for estimate in done} == {(EstimateState.ESTIMATED, 1)}
    made = [re.findall(r"estimate (\w{8}) .* after \d+ s", output) for output in outputs]
    assert sorted(made[0] + made[1]) == sorted(key[:8] for key in keys)
    assert min(len(numbers) for numbers in made) > 0
    assert left_files(store) == []


@pytest.mark.slow
def test_what_cannot_be_estimated_is_one_line_and_the_next_one_is_made(
    estimate_worker: EstimateWorker, database: Database, store: ArtifactStore
) -> None:
    refused = request_estimate(database, architecture(first=()), ZCU111, 300).key
    unknown = request(database, target=replace(ZCU111, board="ZCU999"))
    slow = request_estimate(database, deep_architecture(4), ZCU111, 1).key
    good = request(database)

    assert run_queue(estimate_worker, is_draining=True) == 4

    messages = [load(database, key).message or "" for key in (refused, unknown, slow)]
    states = [load(database, key).state for key in (refused, unknown, slow, good)]
    assert states == [
        EstimateState.UNBUILDABLE,
        EstimateState.FAILED,
        EstimateState.FAILED,
        EstimateState.ESTIMATED,
    ]
    assert messages[0].startswith("the network has 32-bit weights or activations; expected at most 8 bits everywhere")
    assert "board is ZCU999; expected one of" in messages[1]
    assert messages[2] == "timeout_s is 1; the estimate took longer and was killed"
    assert not any("\n" in message for message in messages)
    assert f"{unknown}.log" in left_files(store)
    assert all(name.endswith(".log") for name in left_files(store))


@pytest.mark.slow
def test_estimate_is_made_once_more_after_kill_9_of_its_worker(
    database: Database, store: ArtifactStore, estimate_worker: EstimateWorker
) -> None:
    key = request(database)
    process = start_worker(database, store)
    assert wait_until(lambda: has_finished_step(store), timeout_s=120)
    working = find_finn(store)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert len(working) >= 2
    assert wait_until(lambda: not any(map(is_running, working)), timeout_s=10)
    assert load(database, key).state is EstimateState.RUNNING
    with database.engine.begin() as connection:
        connection.execute(update(estimates).values(lease_until=0))
    assert run_queue(estimate_worker, is_draining=True) == 1
    done = load(database, key)
    assert (done.state, done.attempt) == (EstimateState.ESTIMATED, 2)
    assert left_files(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("find", [find_exports, find_finn])
def test_estimate_goes_on_after_kill_9_of_a_process_of_it(
    database: Database,
    store: ArtifactStore,
    estimate_worker: EstimateWorker,
    find: Callable[[ArtifactStore], list[int]],
    events: list[str],
) -> None:
    key = request(database)
    thread = Thread(target=run_queue, args=(estimate_worker,), kwargs={"is_draining": True})
    thread.start()
    working = wait_until(lambda: find(store), timeout_s=120)
    assert working

    for pid in working:
        with suppress(ProcessLookupError):  # of a call whose fork was killed just now
            os.kill(pid, signal.SIGKILL)
    thread.join(200)

    done = load(database, key)
    assert (done.state, done.attempt) == (EstimateState.ESTIMATED, 1)
    assert left_files(store) == []
    assert any("lost FINN to SIGKILL" in event for event in events) == (find is find_finn)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_gives_all_estimates_back_at_once(
    database: Database, store: ArtifactStore, number: signal.Signals, finn: Finn
) -> None:
    keys = [request_estimate(database, deep_architecture(channels), ZCU111, 300).key for channels in (3, 4)]
    process = start_worker(database, store, "--processes", "2")
    working = wait_until(lambda: (pids := find_finn(store))[3:] and pids, timeout_s=120)
    assert len(working) == 4  # two calls and their forks

    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 130
    assert output.count("given back") == 2
    assert not any(map(is_running, working))
    given_back = [load(database, key) for key in keys]
    assert {(e.state, e.owner, e.attempt) for e in given_back} == {(EstimateState.QUEUED, None, 0)}
    assert left_files(store) == []


def test_estimate_whose_lease_expired_changes_hands_within_a_worker_too(
    database: Database, store: ArtifactStore, tmp_path: Path, events: list[str]
) -> None:
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o700)
    pythons = EstimatorPythons(sleeper, Finn(tmp_path, FinnKind.EXTERNAL, sleeper))
    worker = EstimateWorker(database, store, pythons, make_lease_owner(), Event(), events.append, n_processes=2)
    key = request(database)
    thread = Thread(target=run_queue, args=(worker,))
    thread.start()
    try:
        assert wait_until(lambda: load(database, key).attempt == 1, timeout_s=10)
        first = load(database, key).owner
        with database.engine.begin() as connection:
            connection.execute(update(estimates).values(lease_until=0))  # as after a sleep of the machine
        assert wait_until(lambda: load(database, key).attempt == 2, timeout_s=10)
        second = load(database, key).owner
    finally:
        worker.stop.set()
        thread.join(30)

    assert None not in (first, second)
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--storage", "mysql://host/db"], "expected sqlite:///FILE or postgresql")],
)
def test_database_that_cannot_be_opened_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1

    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_no_processes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--processes", "0"])

    assert "--processes: it is 0; expected a whole number from 1" in capsys.readouterr().err
