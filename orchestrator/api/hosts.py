"""Refuses what a foreign web page may have sent: requests for another name, and from another origin.

A page of another site can make a browser ask this service under that site's own name (DNS rebinding),
so only known names are answered. And it can make the browser send a change to our name: then `Origin`
names the site. Probes are answered under any name: they come by address, and tell nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.api import problems
from orchestrator.api.entrance import OPEN
from orchestrator.errors import ForbiddenError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING = ("GET", "HEAD", "OPTIONS")


class Hosts:
    """Answers requests for `known` names alone, those of this machine among them."""

    def __init__(self, app: ASGIApp, known: Collection[str]) -> None:
        self._app, self._known = app, LOOPBACK | frozenset(known)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            request = Request(scope)
            if fault := self._fault(request):
                return await problems.answer(request, fault)(scope, receive, send)
        return await self._app(scope, receive, send)

    def _fault(self, request: Request) -> ForbiddenError | None:
        host = request.headers.get("host", "").lower()
        if _name(host) not in self._known:
            return ForbiddenError(
                f"this service does not go by the name {_name(host)[:100]!r}",
                hint="the operator adds it to `access.hosts` of the settings file",
            )
        origin = request.headers.get("origin")
        if origin and request.method not in _READING and urlsplit(origin).netloc.lower() != host:
            return ForbiddenError("pages of other sites may change nothing here")
        return None


def _name(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
