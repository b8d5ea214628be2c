"""The estimate worker with FINN: each estimate made once, whoever is killed meanwhile, and nothing left behind."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import update

from fpga.estimate_worker import EstimateWorker, main, run_queue
from fpga.toolchain.finn import Finn, FinnKind
from fpga.toolchain.fork_server import EstimatorPythons
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.estimates import request_estimate
from storage.leases import make_lease_owner
from storage.records import EstimateState
from storage.tables import estimates
from tests.fpga.estimate_workers import (
    architecture,
    deep_architecture,
    left_files,
    load,
    request,
)
from tests.fpga.exported_networks import ZCU111
from tests.fpga.running_processes import wait_until


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
