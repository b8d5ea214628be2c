"""The web application: the guard in front, Optuna dashboard behind."""

from __future__ import annotations

from pathlib import Path

from a2wsgi import WSGIMiddleware
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna_dashboard import wsgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from dashboards.constraint_storage import ConstraintStorage, leave_infeasible_out_of_best_trials
from dashboards.guard import Guard, GuardRules

UPLOADS = "uploads"
"""Folder in the artifact store for the files that people attach in the dashboard."""


def create_app(storage: BaseStorage, artifacts: Path, rules: GuardRules) -> Starlette:
    """Optuna dashboard on `storage`, open to those whom `rules` lets in. Attached files go to `artifacts`/uploads."""
    uploads = artifacts / UPLOADS
    uploads.mkdir(parents=True, exist_ok=True)
    leave_infeasible_out_of_best_trials()
    dashboard = WSGIMiddleware(wsgi(ConstraintStorage(storage), FileSystemArtifactStore(uploads)))
    return Starlette(routes=[Mount("/", dashboard)], middleware=[Middleware(Guard, rules=rules)])
