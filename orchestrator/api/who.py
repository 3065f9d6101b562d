"""What a route is given: the service, and who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from orchestrator.errors import AuthError
from orchestrator.service import Caller, Service


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _caller(request: Request) -> Caller:
    everybody: Caller | None = request.app.state.everybody
    if everybody is None:
        raise AuthError(hint="`axo login` takes a key of this service")
    return everybody


ServiceOf = Annotated[Service, Depends(_service)]
CallerOf = Annotated[Caller, Depends(_caller)]
