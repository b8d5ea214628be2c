"""Opens the one database of studies: SQLite in WAL mode, or PostgreSQL by URL."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from storage.tables import SCHEMA_VERSION, UPGRADES, metadata, schema

DEFAULT_DATABASE_URL = "sqlite:///runs/studies.db"
"""In the current folder."""

BUSY_TIMEOUT_S = 60
"""How long a writer waits for another one before SQLite says "database is locked"."""

CONNECT_TIMEOUT_S = 10

CREATE_LOCK = 0x66706761
"""Key of PostgreSQL's advisory lock under which the tables are made."""

EXPECTED_URL = "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


class DatabaseError(Exception):
    """The database cannot be used; the text names it without its password."""


@dataclass(frozen=True)
class Database:
    """An open database with our tables in it."""

    url: str = field(repr=False)
    """With the password; a SQLite file as absolute path."""
    engine: Engine


def open_database(url: str) -> Database:
    """Connects, and makes missing tables and the folder of a SQLite file.

    Raises DatabaseError for a malformed URL, another kind of database, no connection, or tables of another version.
    """
    parsed = _parse_url(url)
    shown = hide_password(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = _create_engine(parsed)
        with creation_lock(engine):
            _create_tables(engine, shown)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"the storage URL {shown} needs the package {error.name}; "
            "install it with: pip install 'fpga-modulation-search[postgresql]'"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"cannot open the database {shown}: {_describe(error)}") from None
    return Database(parsed.render_as_string(hide_password=False), engine)


def open_existing_database(url: str) -> Database:
    """open_database for readers: a missing SQLite file raises DatabaseError and is not made."""
    parsed = _parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise DatabaseError(
            f"the database {hide_password(url)} does not exist; expected the one that search.run writes: "
            "start a study first, or give its --storage URL"
        )
    return open_database(url)


@contextmanager
def creation_lock(engine: Engine) -> Iterator[None]:
    """Only one process at a time makes tables, ours or Optuna's, or changes a SQLite file to WAL mode."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATE_LOCK})")
            yield
        return
    # By hand: filelock locks no folder.
    folder = os.open(Path(str(engine.url.database)).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # not the file: closing it would drop SQLite's own locks of this process
        yield
    finally:
        os.close(folder)


def configure_sqlite(engine: Engine) -> None:
    """WAL, synchronous=NORMAL and a long busy timeout for each connection; nothing for other databases.

    Also for an engine that has connected already, as Optuna's has. Not for network file systems.
    """
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", _set_pragmas)
    engine.dispose()


def write_sqlite_file(database: Database, path: Path) -> None:
    """Writes a whole SQLite database, also what lies in its log, to one new file."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(path),))


def hide_password(url: str) -> str:
    """The URL without user, password and query."""
    if url.startswith("sqlite"):
        return url
    return re.sub(r"^(.*?://)?.*@", r"\1***@", url.partition("?")[0], flags=re.DOTALL)


def insert_row(database: Database, table: Table, values: Mapping[str, Any]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT of one row that can take ON CONFLICT, in the dialect of this database."""
    if database.engine.dialect.name == "sqlite":
        return sqlite.insert(table).values(**values)
    return postgresql.insert(table).values(**values)


def _parse_url(url: str) -> URL:
    shown = hide_password(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError(f"the storage URL is {shown!r}; {EXPECTED_URL}") from None
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"):
        raise DatabaseError(f"the storage URL is {shown!r}; {EXPECTED_URL}")
    if parsed.get_backend_name() == "sqlite":
        return _parse_sqlite_url(parsed, shown)
    if "@" in (parsed.host or "") + (parsed.database or ""):
        raise DatabaseError(f"the storage URL is {shown!r}; expected @ and / in the password written as %40 and %2F")
    return parsed.set(drivername="postgresql+psycopg")


def _parse_sqlite_url(parsed: URL, shown: str) -> URL:
    if parsed.host or parsed.database in (None, "", ":memory:"):
        raise DatabaseError(
            f"the storage URL is {shown!r}; expected sqlite:///FILE, with three slashes, for several processes share it"
        )
    try:
        return parsed.set(database=str(Path(str(parsed.database)).expanduser().resolve()))
    except RuntimeError as error:  # an unknown user after ~, or links that lead in a circle
        raise DatabaseError(f"the storage URL is {shown!r}; expected a file that can be: {error}") from None


def _create_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    configure_sqlite(engine)
    return engine


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _create_tables(engine: Engine, shown: str) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # else the driver begins after the first table
        metadata.create_all(connection)
        version = connection.scalar(select(schema.c.version))
        if version is None:
            connection.execute(schema.insert().values(version=SCHEMA_VERSION))
        elif version in UPGRADES:
            _upgrade_tables(connection, version)
        elif version != SCHEMA_VERSION:
            raise DatabaseError(
                f"the tables in {shown} have version {version}; expected {SCHEMA_VERSION}: "
                "use the release that made them, or another storage URL"
            )


def _upgrade_tables(connection: Connection, version: int) -> None:
    for step in range(version, SCHEMA_VERSION):
        for statement in UPGRADES[step]:
            connection.exec_driver_sql(statement)
    connection.execute(schema.update().values(version=SCHEMA_VERSION))


def _describe(error: SQLAlchemyError | OSError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
