"""`/api/v1/datasets`: the prepared datasets of a project."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/datasets", tags=["datasets"])

_Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The dataset's digest.")]


@router.get("")
def page(
    service: ServiceOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
) -> list[wire.Dataset]:
    """The datasets that runs of the project used, the last used first, but for deleted ones."""
    return service.datasets.page(caller, limit)


@router.get("/{digest}")
def get(digest: _Digest, service: ServiceOf, caller: CallerOf) -> wire.Dataset:
    """A dataset, and the runs that used it."""
    return service.datasets.get(caller, digest)


@router.delete("/{digest}", status_code=204, response_class=Response)
def delete(digest: _Digest, service: ServiceOf, caller: CallerOf) -> None:
    """Delete a dataset. One that a run uses which has not ended is refused; the same data is prepared again
    where a run needs it."""
    service.datasets.delete(caller, digest)
