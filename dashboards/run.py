"""The dashboard server, Optuna dashboard with our plots and notes; its command: `python -m dashboards.run`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import optuna
import uvicorn
from optuna.storages import BaseStorage

from dashboards.app import create_app
from dashboards.guard import GuardError, guard_rules, url_host
from dashboards.pages.routes import PREFIX
from dashboards.refresher import Refresher
from search.optuna_storage import open_optuna_storage
from search.study import StudyError
from storage.artifacts import ArtifactError, ArtifactStore
from storage.command_options import add_artifacts_option, add_storage_option
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_existing_database
from storage.environment_variables import DASHBOARD_TOKEN_VARIABLE

REFRESH_INTERVAL_S = 3.0
LAST_REFRESH_TIMEOUT_S = 5
SHUTDOWN_TIMEOUT_S = 3


class AddressError(Exception):
    """The server cannot listen where it was told to."""


class EndError(Exception):
    """Ctrl-C or SIGTERM arrived."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C or SIGTERM. Returns 2 where it cannot start."""
    args = _parse_arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, _end)
    try:
        _run_server(args)
    except (AddressError, ArtifactError, DatabaseError, GuardError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    except EndError:
        return 0
    return 0


def find_page(storage: BaseStorage, study_name: str | None) -> str:
    """Path of the page to open first. Raises StudyError where there is no such study."""
    if study_name is None:
        return "/dashboard"
    ids = {study.study_name: study._study_id for study in storage.get_all_studies()}
    if study_name not in ids:
        raise StudyError(f"--study is {study_name}; expected one of: {', '.join(sorted(ids)) or 'none is there yet'}")
    return f"/dashboard/studies/{ids[study_name]}"


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises AddressError where host or port cannot be used."""
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(socket.SOMAXCONN)
    except (OSError, OverflowError) as error:
        if listener is not None:
            listener.close()
        raise AddressError(
            f"cannot listen on {url_host(host)}:{port}: {getattr(error, 'strerror', None) or error}; "
            "give another --port (0: any free one), or end the server that has it"
        ) from None
    return listener


def _run_server(args: argparse.Namespace) -> None:
    rules = guard_rules(args.host, args.token)
    database = open_existing_database(args.storage)
    storage = open_optuna_storage(database)
    page = find_page(storage, args.study)
    app = create_app(storage, database, ArtifactStore(args.artifacts).root, rules)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S)
    with open_listener(args.host, args.port) as listener, _refreshing(storage, database, args.study):
        print(_greeting(args.host, listener, page, is_token_needed=args.token is not None), flush=True)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _refreshing(storage: BaseStorage, database: Database, study_name: str | None) -> Iterator[None]:
    """Refreshes plots and notes meanwhile, and once more afterwards."""
    stop, give_up = threading.Event(), threading.Event()
    refresher = Refresher(storage, database, study_name)
    thread = threading.Thread(target=refresher.refresh_until, args=(stop, REFRESH_INTERVAL_S, give_up), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LAST_REFRESH_TIMEOUT_S)
        give_up.set()
        thread.join(SHUTDOWN_TIMEOUT_S)


def _end(signal_number: int, frame: FrameType | None) -> None:
    """While uvicorn runs it handles the signals: it closes its connections, then sends them again to here."""
    raise EndError


def _greeting(host: str, listener: socket.socket, page: str, is_token_needed: bool) -> str:
    root = f"http://{url_host(host)}:{listener.getsockname()[1]}"
    address = f"{root}{page}"
    hint = "open it once with ?token=TOKEN; Ctrl-C ends it" if is_token_needed else "Ctrl-C ends it"
    return f"Dashboard: {address}  ({hint})\nPages:     {root}{PREFIX}"


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m dashboards.run",
        description="Serves Optuna dashboard with a Pareto plot per study and a note per trial, until Ctrl-C.",
    )
    add_storage_option(parser)
    add_artifacts_option(parser, "folder for uploads")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s); others need --token")
    parser.add_argument("--port", type=_port, default=8080, help="(%(default)s); 0 or auto: any free one")
    parser.add_argument(
        "--token",
        default=os.environ.get(DASHBOARD_TOKEN_VARIABLE),
        help=f"secret that everybody must show; ${DASHBOARD_TOKEN_VARIABLE} keeps it out of the process list",
    )
    parser.add_argument("--study", metavar="NAME", help="keep only this study's plot and notes up to date, and open it")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"port is {text}; expected 0 to 65535, or auto")
    return int(text)


if __name__ == "__main__":
    run_command(main)
