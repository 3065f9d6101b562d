"""`/api/v1/mappings`: the mappings that a project shares."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf
from orchestrator.spec.base import Name

router = APIRouter(prefix="/mappings", tags=["mappings"])

_Name = Annotated[Name, Path(description="What specs call it: `mapping: NAME`.")]


@router.get("")
def page(
    service: ServiceOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[Name | None, Query()] = None,
) -> wire.MappingPage:
    """The mappings of the project by their names, by pages."""
    return service.mappings.page(caller, limit, cursor)


@router.get("/{name}")
def get(name: _Name, service: ServiceOf, caller: CallerOf) -> wire.NamedMapping:
    """A mapping with its text."""
    return service.mappings.get(caller, name)


@router.put("/{name}")
def put(name: _Name, asked: wire.MappingAsked, service: ServiceOf, caller: CallerOf) -> wire.MappingListed:
    """Keep a mapping under a name, or change it. Runs keep the text that they were submitted with."""
    return service.mappings.put(caller, name, asked)


@router.delete("/{name}", status_code=204, response_class=Response)
def delete(name: _Name, service: ServiceOf, caller: CallerOf) -> None:
    """Delete a mapping. Runs keep the text that they were submitted with."""
    service.mappings.delete(caller, name)
