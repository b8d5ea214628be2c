"""Who may use the dashboard: host names, origins of writes, the token; headers that make artifacts harmless."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE_NAME = "dashboard_session"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class GuardError(ValueError):
    """The server would be open to strangers, or its token cannot be sent."""


@dataclass(frozen=True)
class GuardRules:
    """Who is let in."""

    allowed_hosts: frozenset[str] | None
    """In lower case; None allows any Host header."""
    token: str | None
    """None asks for no token."""


def guard_rules(host: str, token: str | None) -> GuardRules:
    """The rules for a server bound to `host`.

    Raises GuardError where no header can hold the token, or where other machines could connect without one.
    """
    if token is not None and not _is_sendable(token):
        raise GuardError(
            "--token is empty or has spaces or special characters; expected printable ASCII without spaces"
        )
    if token is None and not is_loopback(host):
        raise GuardError(
            f"--host is {host} and no --token is given; expected 127.0.0.1, localhost or ::1, or a --token too: "
            "whoever reaches the port can delete studies"
        )
    if host in {"0.0.0.0", "::"}:  # reachable under any name: the token alone decides
        return GuardRules(None, token)
    return GuardRules(LOOPBACK_NAMES | {url_host(host).lower()}, token)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Of all names only localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url_host(host: str) -> str:
    """`host` as URLs and Host headers have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class Guard:
    """ASGI middleware. Refuses what the rules forbid and adds safe headers to all answers."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nothing here uses it
        else:
            answer = _refuse(Request(scope), self._rules) or self._app
            await answer(scope, receive, _with_safe_headers(send, scope["path"]))


def _refuse(request: Request, rules: GuardRules) -> Response | None:
    if not _is_host_allowed(request, rules):
        return PlainTextResponse("This Host is not served here.\n", status_code=400)
    if _is_cross_origin_write(request):
        return PlainTextResponse("Writes from another origin are refused.\n", status_code=403)
    if rules.token is None:
        return None
    return _ask_for_token(request, rules.token)


def _is_host_allowed(request: Request, rules: GuardRules) -> bool:
    host = request.headers.get("host", "").lower()
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return rules.allowed_hosts is None or name in rules.allowed_hosts


def _is_cross_origin_write(request: Request) -> bool:
    """Browsers send Sec-Fetch-Site, older ones Origin. A client that sends neither is no browser."""
    if request.method in READING_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()


def _ask_for_token(request: Request, token: str) -> Response | None:
    session = _session_value(token)
    if _is_equal(request.headers.get("authorization", ""), f"Bearer {token}"):
        return None
    if _is_equal(request.cookies.get(COOKIE_NAME, ""), session):
        return None
    if request.method == "GET" and _is_equal(request.query_params.get("token", ""), token):
        response = RedirectResponse(_without_token(request), status_code=303)
        response.set_cookie(COOKIE_NAME, session, httponly=True, samesite="strict")
        return response
    message = "A token is needed: open this address once with ?token=TOKEN, or send 'Authorization: Bearer TOKEN'.\n"
    return PlainTextResponse(message, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _without_token(request: Request) -> str:
    query = urlencode([(k, v) for k, v in parse_qsl(request.url.query, keep_blank_values=True) if k != "token"])
    path = "/" + request.url.path.lstrip("/")  # "//elsewhere" would lead to another host
    return f"{path}?{query}" if query else path


def _session_value(token: str) -> str:
    """The cookie's value: a keyed hash of the token, from which nobody can read the token back."""
    return hmac.new(token.encode(), b"dashboard session", hashlib.sha256).hexdigest()


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_sendable(token: str) -> bool:
    return bool(token) and all("!" <= character <= "~" for character in token)


def _with_safe_headers(send: Send, path: str) -> Send:
    async def send_safely(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["X-Frame-Options"] = "SAMEORIGIN"
            headers["Referrer-Policy"] = "same-origin"
            if path.startswith("/artifacts/"):  # an HTML artifact would otherwise run its scripts as this site
                headers["Content-Security-Policy"] = "sandbox"
                del headers["Access-Control-Allow-Origin"]
        await send(message)

    return send_safely
