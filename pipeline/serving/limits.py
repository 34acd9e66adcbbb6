"""Keeps out what must not reach the model: other sites' pages, callers without the token, too much at a time."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.base.section import Section

OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no token: the page itself, which asks for it, and what a balancer asks."""
_OPEN_BELOW = "/static/"
"""Nor does all that is below this one."""
_PATIENCE, _SLOWEST = 20.0, 10_000
"""A body may take these seconds, and one more for so many bytes of it."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Of every answer. The page loads nothing from elsewhere, and no other page may show it in a frame."""


class Limits(Section):
    """What a server takes on."""

    megabytes: float = Field(64.0, gt=0.0, description="largest body of a request, in MB")
    minutes: float = Field(60.0, gt=0.0, description="longest song, in minutes")
    requests: int = Field(32, ge=1, description="requests that are worked on, or wait, at a time")


def refusal(status: int, reason: str, **headers: str) -> JSONResponse:
    """Returns an answer with a reason, in the form of TensorFlow Serving's errors."""
    return JSONResponse({"error": reason}, status, headers)


class Gate:
    """ASGI middleware that holds the limits."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Iterable[str] = (), token: str = "") -> None:
        """Wraps `app`.

        Args:
          hosts: names by which this server may be called, without ports; none: any. A page of another site can have its
            own name point at this machine (DNS rebinding): then the name gives it away.
          token: what callers show as `Authorization: Bearer`; empty: none is asked for.
        """
        self._app, self._limits, self._token = app, limits, token.encode()
        self._hosts = frozenset(hosts)
        self._busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(each for each in added if each[0] not in given)]
            await send(message)

        request = Request(scope)
        refused = self._refused(request)
        if refused:
            await refused(scope, receive, send_with_headers)
        elif request.method != "POST":
            await self._app(scope, receive, send_with_headers)
        else:
            self._busy += 1
            try:
                await self._app(scope, self._bounded(receive), send_with_headers)
            finally:
                self._busy -= 1

    def _refused(self, request: Request) -> JSONResponse | None:
        """Returns why a request is not taken, from its headers; None if it is."""
        # Behind a proxy the path begins with where it has this server; and request.url takes in what Host says.
        path: str = request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/"
        if "\0" in path:
            return refusal(400, "the path has a zero byte in it")
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self._hosts and _name(host) not in self._hosts:
            return refusal(403, f"this server is not called {_name(host) or 'that'}. Call it by its address.")
        if not self._token and origin is not None and _netloc(origin) != host.lower():
            return refusal(403, "pages of other sites may not use this server")
        if self._token and path not in OPEN and not path.startswith(_OPEN_BELOW):
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._token):
                reason = "a token is needed: Authorization: Bearer TOKEN"
                return refusal(401, reason, **{"www-authenticate": "Bearer"})
        if request.method == "POST":
            return self._too_much(request)
        return None

    def _too_much(self, request: Request) -> JSONResponse | None:
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.megabytes * 1e6:
            return refusal(413, self._too_large())
        if request.headers.get("content-encoding", "identity") != "identity":
            return refusal(415, "the body must not be compressed: send it without Content-Encoding")
        if self._busy >= self._limits.requests:
            return refusal(429, f"{self._busy} requests are being answered. Try again soon.", **{"retry-after": "1"})
        return None

    def _too_large(self) -> str:
        return f"the body is larger than {self._limits.megabytes:g} MB"

    def _bounded(self, receive: Receive) -> Receive:
        """Returns `receive` for a body that is neither too large nor too slow."""
        begin, seen, complete = time.monotonic(), 0, False

        async def bounded() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()  # tells when the client is gone
            left = begin + _PATIENCE + seen / _SLOWEST - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly") from None
            seen += len(message.get("body", b""))
            if seen > self._limits.megabytes * 1e6:
                raise HTTPException(413, self._too_large())
            complete = not message.get("more_body", False)
            return message

        return bounded


def _netloc(origin: str) -> str:
    """Returns the host in an Origin header, with the port."""
    return origin.partition("://")[2].lower()


def _name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
