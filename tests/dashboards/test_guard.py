"""Who is let in: tried with a real client against a small application behind the guard."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashboards.guard import COOKIE_NAME, Guard, GuardError, guard_rules, is_loopback

LOCAL = "http://127.0.0.1:8080"


async def _answer(request: Request) -> Response:
    headers = {"Access-Control-Allow-Origin": "*"}
    return PlainTextResponse(f"inside {request.url.query}", headers=headers)


class _Client:
    """A browser without redirects: keeps cookies from one request to the next."""

    def __init__(self, host: str, token: str | None) -> None:
        routes = [Route("/{path:path}", _answer, methods=["GET", "POST", "PUT", "DELETE"])]
        app = Starlette(routes=routes, middleware=[Middleware(Guard, rules=guard_rules(host, token))])
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL)

    def request(self, method: str, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return asyncio.run(self._client.request(method, url, headers=headers))

    def get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", url, headers)


def _client(host: str = "127.0.0.1", token: str | None = None) -> _Client:
    return _Client(host, token)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "[::1]"])
def test_names_of_this_machine_are_served(host: str) -> None:
    assert _client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "evil.example:127", "", "[::2]", "["])
def test_other_host_names_are_refused(host: str) -> None:
    answer = _client().get("/", headers={"Host": host})

    assert answer.status_code == 400
    assert "inside" not in answer.text


def test_the_host_that_was_given_is_served() -> None:
    client = _client("lab.example", token="secret")

    assert client.get("/", headers={"Host": "Lab.Example:80", "Authorization": "Bearer secret"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example", "Authorization": "Bearer secret"}).status_code == 400


def test_behind_all_addresses_the_token_alone_decides() -> None:
    client = _client("0.0.0.0", token="secret")

    assert client.get("/", headers={"Host": "any.example", "Authorization": "Bearer secret"}).status_code == 200
    assert client.get("/", headers={"Host": "any.example"}).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_writes_from_other_origins_are_refused(method: str, headers: dict[str, str]) -> None:
    answer = _client().request(method, "/api/studies", headers=headers)

    assert answer.status_code == 403
    assert "inside" not in answer.text


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": LOCAL}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_writes_from_our_own_pages_and_from_programs_pass(headers: dict[str, str]) -> None:
    assert _client().request("POST", "/api/studies", headers).status_code == 200


def test_artifacts_run_no_scripts_and_are_not_shared_with_other_origins() -> None:
    headers = _client().get("/artifacts/1/2/abc").headers

    assert headers["Content-Security-Policy"] == "sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_token_is_asked_for_everywhere() -> None:
    client = _client(token="secret")

    for path in ("/", "/dashboard", "/api/studies", "/artifacts/1/2/abc", "/static/bundle.js"):
        assert client.get(path).status_code == 401
    assert client.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/", headers={"Cookie": f"{COOKIE_NAME}=secret"}).status_code == 401
    assert client.request("POST", "/?token=secret").status_code == 401


def test_a_token_in_the_address_becomes_a_cookie_without_the_token_in_it() -> None:
    client = _client(token="secret")

    first = client.get("/dashboard/studies/1?token=secret&numbers=3")

    assert first.status_code == 303
    assert first.headers["Location"] == "/dashboard/studies/1?numbers=3"
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "secret" not in cookie
    assert client.get("/dashboard").status_code == 200


def test_a_token_does_not_lead_to_another_host() -> None:
    answer = _client(token="secret").get(f"{LOCAL}//evil.example/?token=secret")

    assert answer.headers["Location"] == "/evil.example/"


def test_a_bearer_token_is_let_in() -> None:
    assert _client(token="secret").get("/", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_a_token_does_not_let_other_origins_write() -> None:
    headers = {"Authorization": "Bearer secret", "Origin": "http://evil.example"}

    assert _client(token="secret").request("POST", "/", headers).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "lab.example"])
def test_a_host_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(GuardError, match=r"--host is .* no --token is given; expected 127\.0\.0\.1"):
        guard_rules(host, None)


@pytest.mark.parametrize("token", ["", "two words", "schlüssel", "line\nbreak"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(GuardError, match="expected printable ASCII"):
        guard_rules("127.0.0.1", token)


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [host for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "10.0.0.1", "::", "localhost.evil.example") if is_loopback(host)] == []
