"""What there is: `/api/v1/machines`, `/registries`, `/models`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(tags=["catalogue"])

_Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]


@router.get("/machines")
def machines(service: ServiceOf, caller: CallerOf) -> list[wire.Machine]:
    """The machines that a spec may name; the operator declares them."""
    return service.catalogue.machines(caller)


@router.get("/registries")
def registries(service: ServiceOf, caller: CallerOf) -> list[wire.Registry]:
    """Where adapters may be published to; the operator declares them."""
    return service.catalogue.registries(caller)


@router.get("/models")
def models(service: ServiceOf, caller: CallerOf, limit: _Limit = 100) -> list[wire.Model]:
    """The published versions of the project, newest first."""
    return service.catalogue.models(caller, limit)
