import os
import threading
import time

import pytest

import search.processes.driver_lease
from search.processes.driver_lease import DriverLease, LeaseLostError, hold_study
from storage.database import Database
from storage.leases import StudyLeaseError, acquire_study_lease, release_study_lease


def test_second_driver_is_refused_with_the_first_one_s_process(sqlite: Database) -> None:
    with hold_study(sqlite, "small"), pytest.raises(StudyLeaseError, match=f"is being run by .*:{os.getpid()};"):
        DriverLease(sqlite, "small").acquire()


def test_study_is_free_afterwards_also_after_an_error(sqlite: Database) -> None:
    with pytest.raises(KeyboardInterrupt), hold_study(sqlite, "small"):
        raise KeyboardInterrupt
    with hold_study(sqlite, "small") as lease:
        lease.check()


def test_lease_is_renewed_while_the_study_is_held(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.processes.driver_lease, "LEASE_S", 1.0)
    monkeypatch.setattr(search.processes.driver_lease, "RENEWAL_S", 0.1)
    with hold_study(sqlite, "small") as lease:
        time.sleep(1.5)
        lease.check()
        with pytest.raises(StudyLeaseError):
            acquire_study_lease(sqlite, "small", "elsewhere:1:abc", 60)


def test_driver_that_lost_its_study_is_told(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.processes.driver_lease, "RENEWAL_S", 0.1)
    with hold_study(sqlite, "small") as lease:
        assert release_study_lease(sqlite, "small", lease.owner)
        acquire_study_lease(sqlite, "small", "elsewhere:1:abc", 60)
        time.sleep(0.5)
        with pytest.raises(LeaseLostError, match="study small was taken over by another driver"):
            lease.check()


def test_lease_outlives_a_database_that_is_away_for_a_while(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.processes.driver_lease, "RENEWAL_S", 0.1)
    with hold_study(sqlite, "small") as lease:
        with sqlite.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE design_leases RENAME TO away")
        time.sleep(0.5)
        lease.check()
        with sqlite.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO design_leases")
        monkeypatch.setattr(search.processes.driver_lease, "LEASE_S", 1.0)
        time.sleep(1.5)
        with pytest.raises(StudyLeaseError):
            acquire_study_lease(sqlite, "small", "elsewhere:1:abc", 60)


def test_lease_is_lost_when_the_database_stays_away(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.processes.driver_lease, "RENEWAL_S", 0.1)
    with hold_study(sqlite, "small") as lease:
        monkeypatch.setattr(search.processes.driver_lease, "LEASE_S", 0.3)
        with sqlite.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE design_leases RENAME TO away")
        time.sleep(1.0)
        with pytest.raises(LeaseLostError):
            lease.check()
        with sqlite.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO design_leases")


def test_lease_is_lost_when_the_database_never_answers(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(search.processes.driver_lease, "RENEWAL_S", 0.1)
    monkeypatch.setattr(search.processes.driver_lease, "renew_study_lease", lambda *_: answer.wait())
    with hold_study(sqlite, "small") as lease:
        monkeypatch.setattr(search.processes.driver_lease, "LEASE_S", 0.3)
        time.sleep(0.5)
        with pytest.raises(LeaseLostError, match="the database did not answer this one for 0 s; this run ends"):
            lease.check()
        answer.set()


def test_loss_of_the_lease_is_told_also_when_it_cannot_be_released(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.processes.driver_lease, "LEASE_S", 0.1)

    def drive() -> None:
        with hold_study(sqlite, "small") as lease:
            with sqlite.engine.begin() as connection:
                connection.exec_driver_sql("DROP TABLE design_leases")
            time.sleep(0.3)
            lease.check()

    with pytest.raises(LeaseLostError):
        drive()
