"""The first page: all studies of the database."""

from __future__ import annotations

from search.list import StudyLine, describe_study
from storage.database import Database
from storage.studies import list_studies


def studies_view(database: Database) -> list[StudyLine]:
    """The newest study first."""
    return [describe_study(database, name) for name in reversed(list_studies(database))]
