"""`/api/v1/keys`: for the admins of a project."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", status_code=201)
def create(asked: wire.KeyAsked, service: ServiceOf, caller: CallerOf) -> wire.FreshKey:
    """Make a key. Its text is in this answer, and in no other."""
    return service.keys.create(caller, asked)


@router.get("")
def keys(service: ServiceOf, caller: CallerOf) -> list[wire.Key]:
    """The project's keys, newest first."""
    return service.keys.list(caller)


@router.delete("/{key}")
def revoke(key: Annotated[wire.KeyId, Path()], service: ServiceOf, caller: CallerOf) -> wire.Key:
    """Revoke a key: the next request with it is refused."""
    return service.keys.revoke(caller, key)
