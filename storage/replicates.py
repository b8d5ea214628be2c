"""Networks that were trained again with other seeds: one row per study, trial, stage and seed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict

from sqlalchemy import select

from storage.database import Database, insert_row
from storage.records import Replicate
from storage.tables import replicates

KEY = ("study_name", "trial_number", "stage", "seed")


def record_replicate(db: Database, replicate: Replicate) -> None:
    """Stores one; one that is there stays, for it was trained from the same record."""
    statement = insert_row(db, replicates, asdict(replicate)).on_conflict_do_nothing(index_elements=KEY)
    with db.engine.begin() as connection:
        connection.execute(statement)


def load_replicates(db: Database, study_name: str) -> dict[tuple[int, int], tuple[Replicate, ...]]:
    """All of a study, by trial number and stage, each network's by seed; empty for an unknown study."""
    query = select(replicates).where(replicates.c.study_name == study_name).order_by(replicates.c.seed)
    found: dict[tuple[int, int], list[Replicate]] = defaultdict(list)
    with db.engine.connect() as connection:
        for row in connection.execute(query).mappings():
            found[row["trial_number"], row["stage"]].append(Replicate(**row))
    return {key: tuple(several) for key, several in found.items()}
