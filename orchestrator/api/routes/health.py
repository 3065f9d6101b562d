"""Whether the service lives, and whether it can be asked."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from orchestrator.api.places import places_of
from orchestrator.api.who import CallerOf, ServiceOf
from orchestrator.service import Role
from orchestrator.service.figures import figures

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, service: ServiceOf) -> dict[str, str]:
    """The database answers, and storage was seen to keep its promises, so requests can be served."""
    await places_of(request).beside(service.check)
    return {"status": "ok"}


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: ServiceOf, caller: CallerOf) -> PlainTextResponse:
    """Figures of the service for Prometheus: runs by status, launches, lags, errors."""
    caller.need(Role.VIEWER)
    text = figures(service.database, service.clock()).decode()
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
