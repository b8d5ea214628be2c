"""The tables: a row per study, evaluation, rung, estimate, build and lease; beside Optuna's tables in one database."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

SCHEMA_VERSION = 7
"""Raised by one with each change of a table; an older database is upgraded at open, a newer one refused."""

UPGRADES = {
    1: (
        "ALTER TABLE design_evaluations ADD COLUMN training_path VARCHAR(16) NOT NULL DEFAULT 'brevitas'",
        "ALTER TABLE design_evaluations ADD COLUMN is_exact BOOLEAN NOT NULL DEFAULT FALSE",
    ),
    2: (
        "ALTER TABLE design_builds ADD COLUMN level VARCHAR(32)",
        "ALTER TABLE design_builds ADD COLUMN level_note TEXT",
        "ALTER TABLE design_builds ADD COLUMN next_level VARCHAR(32)",
        "ALTER TABLE design_builds ADD COLUMN folder TEXT",
        "ALTER TABLE design_builds ADD COLUMN log_tail TEXT",
        "UPDATE design_builds SET next_level = 'estimate' WHERE state IN ('queued', 'running')",
        "UPDATE design_builds SET level = 'codegen', next_level = 'stitched_ip' WHERE state = 'succeeded'",
    ),
    3: (
        "ALTER TABLE design_builds ADD COLUMN output VARCHAR(16) NOT NULL DEFAULT 'class'",
        "DROP INDEX design_builds_once",
        "CREATE UNIQUE INDEX design_builds_once ON design_builds "
        "(study_name, trial_number, board, clk_period_ns, target_fps, output) WHERE state <> 'failed'",
    ),
    4: (
        "ALTER TABLE design_builds ADD COLUMN stage INTEGER NOT NULL DEFAULT 0",
        # until then, each build was of its trial's last stage
        "UPDATE design_builds SET stage = COALESCE((SELECT MAX(measured.stage) FROM design_evaluations AS measured "
        "WHERE measured.study_name = design_builds.study_name "
        "AND measured.trial_number = design_builds.trial_number), 0)",
        "DROP INDEX design_builds_once",
        "CREATE UNIQUE INDEX design_builds_once ON design_builds "
        "(study_name, trial_number, stage, board, clk_period_ns, target_fps, output) WHERE state <> 'failed'",
        "ALTER TABLE design_evaluations ADD COLUMN architecture JSON",
    ),
    5: (),
    6: (),
}
"""Statements that upgrade tables of this version to the next. New tables are made before, from their definition."""

NOT_FAILED = text("state <> 'failed'")
"""The builds of which there is at most one per network and target."""


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware datetime, stored as UTC (SQLite itself keeps no timezone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_time(FunctionElement[float]):
    """Unix time in seconds by the database's clock: one clock judges the leases of all machines."""

    type = Double()
    inherit_cache = True


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_time, "postgresql")
def _postgresql_time(element: database_time, compiler: SQLCompiler, **options: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


metadata = MetaData()

schema = Table("design_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

studies = Table(
    "design_studies",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

evaluations = Table(
    "design_evaluations",
    metadata,
    Column("study_name", String(64), primary_key=True),
    Column("trial_number", Integer, primary_key=True, autoincrement=False),
    Column("stage", Integer, primary_key=True, autoincrement=False),
    Column("accuracy", Double, nullable=False),
    Column("accuracy_by_snr", JSON, nullable=False),
    Column("n_frames", BigInteger, nullable=False),
    Column("bit_ops", Double, nullable=False),
    Column("weight_bits", Double, nullable=False),
    Column("inference_cost", Double, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("density", JSON, nullable=False),
    Column("epochs", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("training_seconds", Double, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("training_path", String(16), nullable=False),
    Column("is_exact", Boolean, nullable=False),
    Column("architecture", JSON(none_as_null=True)),
)

rungs = Table(
    "design_rungs",
    metadata,
    Column("study_name", String(64), primary_key=True),
    Column("trial_number", Integer, primary_key=True, autoincrement=False),
    Column("rung", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("accuracy", Double, nullable=False),
    Column("inference_cost", Double, nullable=False),
    Column("is_stopped", Boolean, nullable=False),
)

builds = Table(
    "design_builds",
    metadata,
    Column("build_id", Integer, primary_key=True),
    Column("study_name", String(64), nullable=False),
    Column("trial_number", Integer, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("board", String(64), nullable=False),
    Column("clk_period_ns", Double, nullable=False),
    Column("target_fps", BigInteger, nullable=False),
    Column("output", String(16), nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("is_below_threshold", Boolean, nullable=False),
    Column("test_accuracy", Double),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", String(255)),
    Column("lease_until", Double),
    Column("message", Text),
    Column("report", JSON(none_as_null=True)),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("level", String(32)),
    Column("level_note", Text),
    Column("next_level", String(32)),
    Column("folder", Text),
    Column("log_tail", Text),
)

BUILD_KEY = (
    builds.c.study_name,
    builds.c.trial_number,
    builds.c.stage,
    builds.c.board,
    builds.c.clk_period_ns,
    builds.c.target_fps,
    builds.c.output,
)

Index("design_builds_once", *BUILD_KEY, unique=True, sqlite_where=NOT_FAILED, postgresql_where=NOT_FAILED)

estimates = Table(
    "design_estimates",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("architecture_json", Text, nullable=False),
    Column("board", String(64), nullable=False),
    Column("clk_period_ns", Double, nullable=False),
    Column("target_fps", BigInteger, nullable=False),
    Column("output", String(16), nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", String(255)),
    Column("lease_until", Double),
    Column("message", Text),
    Column("hardware", JSON(none_as_null=True)),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)

replicates = Table(
    "design_replicates",
    metadata,
    Column("study_name", String(64), primary_key=True),
    Column("trial_number", Integer, primary_key=True, autoincrement=False),
    Column("stage", Integer, primary_key=True, autoincrement=False),
    Column("seed", BigInteger, primary_key=True, autoincrement=False),
    Column("accuracy", Double),
    Column("inference_cost", Double),
    Column("n_frames", BigInteger, nullable=False),
    Column("training_seconds", Double, nullable=False),
    Column("failure", Text),
)

leases = Table(
    "design_leases",
    metadata,
    Column("study_name", String(64), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("lease_until", Double, nullable=False),
)
