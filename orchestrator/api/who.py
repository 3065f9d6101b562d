"""What a route is given: the service, and who asks. Plain functions would each be called in a thread."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from orchestrator.service import Caller, Reporter, Service


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _caller(request: Request) -> Caller:
    """Whom the entrance let in."""
    caller: Caller = request.state.caller
    return caller


async def _reporter(request: Request) -> Reporter:
    """The launch that the entrance let in."""
    reporter: Reporter = request.state.reporter
    return reporter


ServiceOf = Annotated[Service, Depends(_service)]
CallerOf = Annotated[Caller, Depends(_caller)]
ReporterOf = Annotated[Reporter, Depends(_reporter)]
