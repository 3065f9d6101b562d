"""The entrance: nothing but a probe gets past without the service knowing who asks.

It stands before the routes, so that a new route is closed unless it is named here, and before the
body, so that somebody unknown cannot make us read one. Launches that report have credentials of their own,
which are good for reports alone, as people's are for all else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.api import problems
from orchestrator.api.welcome import Welcome
from orchestrator.contract import REPORTS
from orchestrator.errors import OrchestratorError
from orchestrator.service import Access, Caller
from orchestrator.service.reports import Reports

PROJECT = "Axo-Project"  # says which project is meant, to those who have several
OPEN = frozenset({"/healthz", "/readyz"})


class Entrance:
    """Puts the caller of each request into its state: always `who`, or whom that tells."""

    def __init__(self, app: ASGIApp, who: Caller | Access, reports: Reports) -> None:
        self._app, self._who, self._reports = app, who, reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        request = Request(scope)
        if scope["path"].startswith(REPORTS):
            return await self._report(request, receive, send)
        address = self._address(request)
        try:
            caller = await self._caller(request, address)
        except OrchestratorError as error:
            return await problems.answer(request, error)(scope, receive, send)
        request.state.caller = replace(caller, request=request.state.request_id, address=address)
        return await Welcome(partial(self._caller, request, address)).answer(self._app, scope, receive, send)

    async def _report(self, request: Request, receive: Receive, send: Send) -> None:
        """Let a launch in, and nobody else."""
        try:
            found = await run_in_threadpool(self._reports.reporter, _credential(request))
        except OrchestratorError as error:
            return await problems.answer(request, error)(request.scope, receive, send)
        request.state.reporter = found
        return await self._app(request.scope, receive, send)

    def _address(self, request: Request) -> str:
        """Where a request comes from; nowhere within a process."""
        if isinstance(self._who, Caller) or request.client is None:
            return ""
        return self._who.address(request.client.host, request.headers.getlist)

    async def _caller(self, request: Request, address: str) -> Caller:
        if isinstance(self._who, Caller):
            return self._who
        project = request.headers.get(PROJECT)
        return await run_in_threadpool(self._who.caller, _credential(request), project, address)


class ReportsAlone:
    """An application of which nothing but reports can be reached."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(REPORTS):
            return await Response(status_code=404)(scope, receive, send)
        return await self._app(scope, receive, send)


def _credential(request: Request) -> str | None:
    """What follows `Bearer`; None where the header is not there, and no credential where it is another's."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, credential = given.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
