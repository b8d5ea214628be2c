"""Both pools keep one promise; Ray stays on this machine."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, GlobalPool, InputQuantizer, Linear
from spaces.search_space import Design, TrainingSettings
from workers.pool import Done, LocalPool, Pool, PoolError, RayPool
from workers.requests import Completed, DatasetRequest, EvaluationRequest, Failed

pytestmark = pytest.mark.slow

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and ::ffff:127.0.0.1, as /proc/net has them."""


def design(epochs: int = 1) -> Design:
    blocks = (
        InputQuantizer(),
        Conv(out_channels=2, kernel_size=5, stride=16, weight_bit_width=4, activation_bit_width=4),
        GlobalPool(),
        Linear(out_features=24, weight_bit_width=4),
    )
    return Design(architecture=ArchitectureConfig(blocks=blocks), training=TrainingSettings(epochs=epochs))


@pytest.fixture
def request_(twin_path: Path, tmp_path: Path) -> EvaluationRequest:
    dataset = DatasetRequest(str(twin_path), None, min_training_snr_db=-6, validation_fraction=0.2)
    return EvaluationRequest("pool", 0, design(), 1, dataset, str(tmp_path / "artifacts"), "2026", 1, False)


@pytest.fixture(params=["local", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    pool: Pool = LocalPool() if request.param == "local" else RayPool(1, 0, max_concurrent=None, address=None)
    yield pool
    pool.close()


def wait_for(pool: Pool, seconds: float = 120) -> Done:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = pool.next_done(timeout_s=1)
        if done is not None:
            return done
    raise TimeoutError


def test_submitted_trials_come_back_measured(pool: Pool, request_: EvaluationRequest) -> None:
    assert pool.capacity() >= 1
    assert pool.next_done(timeout_s=0.1) is None
    for number in (0, 1):
        pool.submit(dataclasses.replace(request_, trial_number=number))
    results = [wait_for(pool), wait_for(pool)]
    assert {result.trial_number for result in results} == {0, 1}
    for result in results:
        assert isinstance(result, Completed)
        assert result.evaluations[0].trial_number == result.trial_number


def test_a_raising_trial_comes_back_with_its_traceback(pool: Pool, request_: EvaluationRequest) -> None:
    pool.submit(dataclasses.replace(request_, dataset=dataclasses.replace(request_.dataset, path="/no/such/file")))
    failed = wait_for(pool)
    assert isinstance(failed, Failed)
    assert failed.kind == "DatasetError"
    assert "/no/such/file" in failed.traceback
    assert "run_design" in failed.traceback
    assert not failed.is_infrastructure


def test_a_killed_ray_worker_is_an_infrastructure_failure(request_: EvaluationRequest) -> None:
    pool = RayPool(1, 0, max_concurrent=None, address=None)
    try:
        pool.submit(dataclasses.replace(request_, design=design(epochs=1000)))
        kill_descendant_named("ray::run_request")
        failed = wait_for(pool)
    finally:
        pool.close()
    assert isinstance(failed, Failed)
    assert failed.is_infrastructure
    assert failed.kind == "WorkerCrashedError"


def test_more_than_the_machine_has_is_refused() -> None:
    with pytest.raises(PoolError, match="asks for 1000 CPUs and 0 GPUs per trial; expected at most"):
        RayPool(1000, 0, max_concurrent=None, address=None)


def test_ray_listens_on_the_loopback_interface_alone() -> None:
    before = listening_addresses()
    pool = RayPool(1, 0, max_concurrent=None, address=None)
    try:
        opened = listening_addresses() - before
    finally:
        pool.close()
    assert len(opened) > 3
    assert {address for address, _ in opened} <= LOOPBACK


def kill_descendant_named(name: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if command.startswith(name) and is_descendant(int(folder.name)):
                os.kill(int(folder.name), signal.SIGKILL)
                return
        time.sleep(0.2)
    raise TimeoutError(name)


def is_descendant(pid: int) -> bool:
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()


def listening_addresses() -> set[tuple[str, str]]:
    """(address, port) in hexadecimal of all TCP sockets that listen, as /proc has them."""
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    sockets = [line.split() for line in lines]
    return {(s[1].split(":")[0], s[1].split(":")[1]) for s in sockets if s[3] == "0A"}
