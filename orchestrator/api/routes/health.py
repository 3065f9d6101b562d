"""Whether the service lives, and whether it can be asked."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.api.who import ServiceOf

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(service: ServiceOf) -> dict[str, str]:
    """The database answers, so requests can be served."""
    service.database.check()
    return {"status": "ok"}
