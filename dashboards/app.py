"""The web application: the guard in front, our pages under /pages, Optuna dashboard at the root."""

from __future__ import annotations

from pathlib import Path

from a2wsgi import WSGIMiddleware
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna_dashboard import wsgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from dashboards.constraint_storage import ConstraintStorage, leave_infeasible_out_of_best_trials
from dashboards.guard import Guard, GuardRules
from dashboards.pages.routes import make_routes
from storage.artifacts import ArtifactStore
from storage.database import Database

UPLOADS = "uploads"
"""Folder in the artifact store for the files that people attach in the dashboard."""


def create_app(storage: BaseStorage, database: Database, artifacts: Path, rules: GuardRules) -> Starlette:
    """All pages of one database, open to those whom `rules` lets in. Attached files go to `artifacts`/uploads."""
    uploads = artifacts / UPLOADS
    uploads.mkdir(parents=True, exist_ok=True)
    leave_infeasible_out_of_best_trials()
    dashboard = WSGIMiddleware(wsgi(ConstraintStorage(storage), FileSystemArtifactStore(uploads)))
    routes = [*make_routes(database, ArtifactStore(artifacts)), Mount("/", dashboard)]
    return Starlette(routes=routes, middleware=[Middleware(Guard, rules=rules), Middleware(GZipMiddleware)])
