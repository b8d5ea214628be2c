"""The pages' addresses, all under /pages. They only read: GET changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import plotly
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from dashboards.pages.builds import builds_view
from dashboards.pages.front import front_figure, front_view
from dashboards.pages.studies import studies_view
from dashboards.pages.trial import trial_view
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactStore
from storage.database import Database

PREFIX = "/pages"

HERE = Path(__file__).parent

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
"""Nothing is loaded from elsewhere, and no script that stands in data runs. Plotly sets styles of its elements."""

STATIC = {
    "pages.css": (HERE / "static" / "pages.css", "text/css"),
    "pages.js": (HERE / "static" / "pages.js", "text/javascript"),
    "plotly.js": (Path(plotly.__file__).parent / "package_data" / "plotly.min.js", "text/javascript"),
}

TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class PageError(Exception):
    """There is no such page; the message says what is there."""


def make_routes(database: Database, artifacts: ArtifactStore) -> list[Route]:
    """All pages of this database."""

    def studies(_: Request) -> Response:
        return _page("studies.html", title="studies", view=studies_view(database))

    def front(request: Request) -> Response:
        report = _load_report(database, request)
        axis = request.query_params.get("x")
        return _page("front.html", title=report.study_name, view=front_view(report, axis))

    def front_data(request: Request) -> Response:
        report = _load_report(database, request)
        return _data(request, front_figure(report, request.query_params.get("x")))

    def trial(request: Request) -> Response:
        report = _load_report(database, request)
        number, stage = request.path_params["number"], request.query_params.get("stage")
        if stage is not None and not stage.isdecimal():
            raise PageError(f"stage is {stage}; expected a whole number")
        view = trial_view(report, artifacts, number, None if stage is None else int(stage))
        return _page("trial.html", title=f"{view.name} of {report.study_name}", view=view)

    def builds(_: Request) -> Response:
        return _page("builds.html", title="builds", view=builds_view(database))

    pages: dict[str, Callable[[Request], Response]] = {
        "": studies,
        "/builds": builds,
        "/studies/{study}": front,
        "/studies/{study}/front.json": front_data,
        "/studies/{study}/trials/{number:int}": trial,
        "/static/{name}": _static,
    }
    return [Route(PREFIX + path, _guarded(make), methods=["GET"]) for path, make in pages.items()]


def _guarded(make: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            response = await run_in_threadpool(make, request)
        except (ConfigError, PageError, StudyError) as error:
            response = _page("problem.html", title="not there", view=str(error), status=404)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY
        return response

    return answer


def _load_report(database: Database, request: Request) -> StudyReport:
    return load_study_report(database, request.path_params["study"])


def _page(template: str, *, title: str, view: object, status: int = 200) -> Response:
    content = TEMPLATES.get_template(template).render(title=title, view=view, prefix=PREFIX)
    return HTMLResponse(content, status_code=status, headers={"Cache-Control": "no-store"})


def _data(request: Request, content: object) -> Response:
    """As JSON; nothing where the browser has the same already."""
    text = json.dumps(content, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(text).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="application/json", headers=headers)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("no such file\n", status_code=404)
    content, tag = _read_static(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=STATIC[name][1], headers=headers)


@cache
def _read_static(name: str) -> tuple[bytes, str]:
    content = STATIC[name][0].read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
