"""Which studies there are: the text of each one's YAML, and what it was run with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath

from sqlalchemy import delete, select, text, update

from storage.database import Database, insert_row
from storage.tables import builds, estimates, evaluations, replicates, rungs, studies


class StudyRecordError(Exception):
    """The database knows another study of this name, or none."""


@dataclass(frozen=True)
class StudyRecord:
    """One study as it was started."""

    name: str
    text: str
    """The YAML file, whole."""
    fingerprint: str
    """Equal for two texts that lead to the same results."""
    provenance: Mapping[str, str]
    created_at: datetime


def record_study(db: Database, name: str, text: str, fingerprint: str, provenance: Mapping[str, str]) -> None:
    """Stores a new study. An existing one stays as it is.

    Raises StudyRecordError where the name is taken by a study with another fingerprint.
    """
    values = {
        "name": name,
        "text": text,
        "fingerprint": fingerprint,
        "provenance": dict(provenance),
        "created_at": datetime.now(UTC),
    }
    with db.engine.begin() as connection:
        connection.execute(insert_row(db, studies, values).on_conflict_do_nothing())
        known = connection.scalar(select(studies.c.fingerprint).where(studies.c.name == name))
    if known != fingerprint:
        raise StudyRecordError(
            f"study {name} has the fingerprint {known} in the database; expected {fingerprint}: "
            "its space, data or training was changed, so give it another name"
        )


def load_study_record(db: Database, name: str) -> StudyRecord | None:
    """The study of this name, or None."""
    with db.engine.connect() as connection:
        row = connection.execute(select(studies).where(studies.c.name == name)).mappings().one_or_none()
    return None if row is None else StudyRecord(**row)


def forget_study(db: Database, name: str) -> None:
    """Deletes the study's rows, so that one deleted in Optuna dashboard can start anew."""
    with db.engine.begin() as connection:
        for table in (evaluations, rungs, replicates, builds):
            connection.execute(delete(table).where(table.c.study_name == name))
        connection.execute(delete(studies).where(studies.c.name == name))


def copy_study_rows(
    source: Database, target: Database, name: str, estimate_keys: Collection[str], rename_from: str | None = None
) -> None:
    """Copies a study's rows and the estimates of these keys to a database that has none of its name.

    All in one transaction; with `rename_from`, it also gives Optuna's study of that name this one. Of the data file,
    which lies elsewhere there, the name alone is kept. Builds are left out: their files are elsewhere. Raises
    StudyRecordError where the target has other estimates of the same keys.
    """
    with source.engine.connect() as connection:
        rows = {
            table: connection.execute(select(table).where(table.c.study_name == name)).mappings().all()
            for table in (evaluations, rungs, replicates)
        }
        study = connection.execute(select(studies).where(studies.c.name == name)).mappings().one()
        finished = connection.execute(select(estimates).where(estimates.c.finished_at.is_not(None))).mappings()
        copied = {row["key"]: row for row in finished if row["key"] in estimate_keys}
    provenance = {**study["provenance"], "data_file": PurePath(study["provenance"].get("data_file", "")).name}
    with target.engine.begin() as connection:
        for key, hardware in connection.execute(select(estimates.c.key, estimates.c.hardware)):
            known = copied.pop(key, None)
            if known is not None and hardware is not None and known["hardware"] != hardware:
                raise StudyRecordError(
                    f"the database has another estimate of {name}'s networks, by another FINN; "
                    "expected another --storage"
                )
        connection.execute(insert_row(target, studies, {**study, "provenance": provenance}))
        for table, several in {**rows, estimates: list(copied.values())}.items():
            for row in several:
                connection.execute(insert_row(target, table, dict(row)))
        if rename_from is not None:  # Optuna has no call for it
            connection.execute(
                text("UPDATE studies SET study_name = :name WHERE study_name = :before"),
                {"name": name, "before": rename_from},
            )


def list_studies(db: Database) -> list[str]:
    """The names of all studies, the oldest first."""
    with db.engine.connect() as connection:
        return list(connection.scalars(select(studies.c.name).order_by(studies.c.created_at, studies.c.name)))


def update_study_text(db: Database, name: str, text: str) -> None:
    """Replaces the YAML text, after its budget was changed. Raises StudyRecordError where there is no such study."""
    with db.engine.begin() as connection:
        result = connection.execute(update(studies).where(studies.c.name == name).values(text=text))
    if result.rowcount != 1:
        raise StudyRecordError(f"study {name} is not in the database")
