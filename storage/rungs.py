"""What trials that pause were measured as, and whether they went on: one row per study, trial and rung."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select

from storage.database import Database, insert_row
from storage.records import RungResult
from storage.tables import rungs

KEY = ("study_name", "trial_number", "rung")


def record_rung(db: Database, result: RungResult) -> None:
    """Stores one result with its decision. One that is there stays: a decision is made once."""
    statement = insert_row(db, rungs, asdict(result)).on_conflict_do_nothing(index_elements=KEY)
    with db.engine.begin() as connection:
        connection.execute(statement)


def load_rungs(db: Database, study_name: str) -> list[RungResult]:
    """All results of a study, by trial number, then rung; empty for an unknown study."""
    query = select(rungs).where(rungs.c.study_name == study_name).order_by(rungs.c.trial_number, rungs.c.rung)
    with db.engine.connect() as connection:
        return [RungResult(**row) for row in connection.execute(query).mappings()]
