"""Hardware estimates: one per architecture and target, made by one worker at a time, kept when studies go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Conv, GlobalPool, InputQuantizer, Linear
from storage import estimates as estimates_module
from storage.database import Database, DatabaseError, open_database
from storage.estimates import (
    claim_estimate,
    fail_estimate,
    finish_estimate,
    load_estimates,
    make_estimate_key,
    release_estimate,
    renew_estimate_lease,
    request_estimate,
)
from storage.hardware_reports import HardwareEstimate, Resources
from storage.leases import make_lease_owner
from storage.records import BuildTarget, Estimate, EstimateState
from storage.studies import forget_study, record_study

TARGET = BuildTarget(board="ZCU111", clk_period_ns=5.0, target_fps=100_000)

HARDWARE = HardwareEstimate(
    lut=43_210,
    bram_18k=57,
    uram=1,
    dsp=3,
    throughput_fps=101_234.5,
    latency_us=317.25,
    bottleneck_layer="MVAU_rtl_3",
    available=Resources(lut=425_280, bram_18k=2160, uram=80, dsp=4272),
)


def architecture(channels: int = 4, bits: int = 4) -> ArchitectureConfig:
    conv = Conv(out_channels=channels, kernel_size=3, weight_bit_width=bits, activation_bit_width=bits)
    last = Linear(out_features=24, weight_bit_width=bits)
    return ArchitectureConfig(blocks=(InputQuantizer(), conv, GlobalPool(), last), frame_length=32)


def test_requested_estimate_comes_back_whole(database: Database) -> None:
    before = datetime.now(UTC)

    estimate = request_estimate(database, architecture(), TARGET, timeout_s=300)

    assert replace(estimate, requested_at=before) == Estimate(
        key=make_estimate_key(architecture(), TARGET),
        architecture_json=architecture().model_dump_json(),
        target=TARGET,
        timeout_s=300,
        state=EstimateState.QUEUED,
        attempt=0,
        owner=None,
        message=None,
        hardware=None,
        requested_at=before,
        finished_at=None,
    )
    assert before <= estimate.requested_at <= datetime.now(UTC)
    assert ArchitectureConfig.model_validate_json(estimate.architecture_json) == architecture()
    assert load_estimates(database, [estimate.key]) == {estimate.key: estimate}


def test_key_is_of_the_architecture_its_bits_and_each_part_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        make_estimate_key(architecture(), TARGET),
        make_estimate_key(architecture(channels=5), TARGET),
        make_estimate_key(architecture(bits=5), TARGET),
        make_estimate_key(architecture(), replace(TARGET, board="Pynq-Z1")),
        make_estimate_key(architecture(), replace(TARGET, clk_period_ns=4.0)),
        make_estimate_key(architecture(), replace(TARGET, target_fps=100_001)),
        make_estimate_key(architecture(), replace(TARGET, output="scores")),
    ]
    monkeypatch.setattr(estimates_module, "ESTIMATOR_VERSION", 1 + estimates_module.ESTIMATOR_VERSION)
    keys.append(make_estimate_key(architecture(), TARGET))

    assert len(set(keys)) == 8
    assert {len(key) for key in keys} == {32}


def test_key_is_the_same_for_5_and_5_0_ns() -> None:
    assert make_estimate_key(architecture(), replace(TARGET, clk_period_ns=5)) == make_estimate_key(
        architecture(), TARGET
    )


def test_same_architecture_and_target_are_one_estimate_whatever_its_state(database: Database) -> None:
    queued = request_estimate(database, architecture(), TARGET, timeout_s=300)
    assert request_estimate(database, architecture(), TARGET, timeout_s=7) == queued

    running = claim_estimate(database, "worker", 60)
    assert request_estimate(database, architecture(), TARGET, timeout_s=7) == running

    finish_estimate(database, queued.key, "worker", HARDWARE)
    estimated = request_estimate(database, architecture(), TARGET, timeout_s=7)
    assert (estimated.state, estimated.hardware) == (EstimateState.ESTIMATED, HARDWARE)


def test_unbuildable_network_stays_unbuildable(database: Database) -> None:
    key = _claim(database).key
    assert fail_estimate(database, key, "worker", "step_streamline failed: no", is_unbuildable=True)

    again = request_estimate(database, architecture(), TARGET, timeout_s=7)

    assert (again.state, again.message) == (EstimateState.UNBUILDABLE, "step_streamline failed: no")
    assert again.finished_at is not None
    assert claim_estimate(database, "worker", 60) is None


def test_failed_estimate_is_queued_anew_with_the_new_time_limit(database: Database) -> None:
    first = _claim(database)
    assert fail_estimate(database, first.key, "worker", "timeout_s is 300", is_unbuildable=False)
    (failed,) = load_estimates(database, [first.key]).values()
    assert (failed.state, failed.message) == (EstimateState.FAILED, "timeout_s is 300")
    assert claim_estimate(database, "worker", 60) is None

    again = request_estimate(database, architecture(), TARGET, timeout_s=900)

    assert again == replace(
        failed,
        state=EstimateState.QUEUED,
        attempt=0,
        owner=None,
        message=None,
        timeout_s=900,
        requested_at=again.requested_at,
        finished_at=None,
    )
    assert again.requested_at > first.requested_at


def test_estimates_are_loaded_by_key_and_unknown_keys_left_out(database: Database) -> None:
    keys = [request_estimate(database, architecture(channels=n), TARGET, 300).key for n in (2, 3)]
    many = [f"{number:032x}" for number in range(1200)]

    assert list(load_estimates(database, [keys[1], *many])) == [keys[1]]
    assert set(load_estimates(database, {*keys, *many})) == set(keys)
    assert load_estimates(database, []) == {}


def test_estimate_that_waits_longest_is_claimed_first(database: Database) -> None:
    requested = [request_estimate(database, architecture(channels=n), TARGET, 300).key for n in (5, 3, 9)]

    claimed = [claim_estimate(database, "worker", 60) for _ in range(4)]

    assert [estimate and estimate.key for estimate in claimed] == [*requested, None]
    assert {(e.state, e.owner, e.attempt) for e in claimed if e} == {(EstimateState.RUNNING, "worker", 1)}


def test_eight_workers_claim_each_of_100_estimates_once(
    database: Database, run_at_once: Callable[..., list[Any]]
) -> None:
    keys = [request_estimate(database, architecture(channels=n + 1), TARGET, 300).key for n in range(100)]

    claimed = run_at_once(_estimate_until_empty, database.url)

    assert sorted(key for keys in claimed for key in keys) == sorted(keys)
    states = {(estimate.state, estimate.attempt) for estimate in load_estimates(database, keys).values()}
    assert states == {(EstimateState.ESTIMATED, 1)}


def _estimate_until_empty(url: str) -> list[str]:
    database, owner, claimed = open_database(url), make_lease_owner(), []
    while estimate := claim_estimate(database, owner, 60):
        assert finish_estimate(database, estimate.key, owner, HARDWARE)
        claimed.append(estimate.key)
    return claimed


def test_eight_callers_request_one_estimate(database: Database, run_at_once: Callable[..., list[Any]]) -> None:
    requested = run_at_once(_request, database.url)

    assert len(set(requested)) == 1
    assert claim_estimate(database, "worker", 60) is not None
    assert claim_estimate(database, "worker", 60) is None


def _request(url: str) -> str:
    return request_estimate(open_database(url), architecture(), TARGET, 300).key


def test_estimate_of_a_dead_worker_is_claimed_again(database: Database) -> None:
    _claim(database, "dead worker", lease_s=0)

    estimate = claim_estimate(database, "worker", 60)

    assert estimate is not None
    assert (estimate.owner, estimate.attempt) == ("worker", 2)
    assert not renew_estimate_lease(database, estimate.key, "dead worker", 60)
    assert not finish_estimate(database, estimate.key, "dead worker", HARDWARE)
    assert load_estimates(database, [estimate.key]) == {estimate.key: estimate}


def test_estimate_whose_lease_holds_is_not_claimed_again(database: Database) -> None:
    key = _claim(database, lease_s=0).key

    assert renew_estimate_lease(database, key, "worker", 60)

    assert claim_estimate(database, "another worker", 60) is None


def test_estimate_that_killed_three_workers_is_failed(database: Database) -> None:
    key = _claim(database, lease_s=0).key
    for _ in range(2):
        assert claim_estimate(database, "worker", lease_s=0) is not None

    assert claim_estimate(database, "worker", 60) is None

    (estimate,) = load_estimates(database, [key]).values()
    assert (estimate.state, estimate.attempt) == (EstimateState.FAILED, 3)
    assert estimate.message == "its worker died or lost the database 3 times"


def test_released_estimate_waits_again_and_counts_no_attempt(database: Database) -> None:
    queued = request_estimate(database, architecture(), TARGET, 300)
    claim_estimate(database, "worker", 60)

    assert release_estimate(database, queued.key, "worker")

    assert load_estimates(database, [queued.key]) == {queued.key: queued}


def test_only_the_owner_may_end_an_estimate_and_only_once(database: Database) -> None:
    running = _claim(database)
    key = running.key

    assert not finish_estimate(database, key, "thief", HARDWARE)
    assert not fail_estimate(database, key, "thief", "", is_unbuildable=True)
    assert not release_estimate(database, key, "thief")
    assert not renew_estimate_lease(database, key, "thief", 60)
    assert load_estimates(database, [key]) == {key: running}

    assert finish_estimate(database, key, "worker", HARDWARE)
    assert not fail_estimate(database, key, "worker", "too late", is_unbuildable=False)
    assert not release_estimate(database, key, "worker")


def test_hardware_without_known_board_comes_back(database: Database) -> None:
    key = _claim(database).key
    before = datetime.now(UTC)

    assert finish_estimate(database, key, "worker", replace(HARDWARE, available=None))

    (estimate,) = load_estimates(database, [key]).values()
    assert (estimate.state, estimate.hardware) == (EstimateState.ESTIMATED, replace(HARDWARE, available=None))
    assert estimate.finished_at is not None
    assert before <= estimate.finished_at <= datetime.now(UTC)


def test_estimates_outlive_the_study_that_asked_for_them(database: Database) -> None:
    record_study(database, "dsc4", "", "f00d", {})
    key = _claim(database).key
    finish_estimate(database, key, "worker", HARDWARE)

    forget_study(database, "dsc4")

    assert load_estimates(database, [key])[key].hardware == HARDWARE


def test_a_database_that_is_away_is_a_database_error(database: Database) -> None:
    engine = create_engine(database.url)

    @event.listens_for(engine, "do_connect")
    def fail(*_: object) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError("no route to host")

    away = replace(database, engine=engine)

    with pytest.raises(DatabaseError, match="does not answer: no route to host"):
        claim_estimate(away, "worker", 60)
    with pytest.raises(DatabaseError, match="does not answer: no route to host"):
        request_estimate(away, architecture(), TARGET, 300)


def _claim(database: Database, owner: str = "worker", lease_s: float = 60) -> Estimate:
    request_estimate(database, architecture(), TARGET, timeout_s=300)
    estimate = claim_estimate(database, owner, lease_s)
    assert estimate is not None
    return estimate
