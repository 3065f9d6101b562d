"""`/api/v1/files`: data on its way to a run, by parts, named by its content."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from orchestrator import wire
from orchestrator.api.octets import TAKES_OCTETS, OctetsOf
from orchestrator.api.places import PROOFS, place_for
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/files", tags=["files"])

_Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the whole file, in hex.")]


@router.post("", status_code=202)
def begin(asked: wire.FileAsked, service: ServiceOf, caller: CallerOf) -> wire.File:
    """Announce a file. What is there already is not sent again: only `missing` parts are."""
    return service.files.begin(caller, asked)


@router.get("")
def page(
    service: ServiceOf, caller: CallerOf, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[wire.File]:
    """The files of the project, those announced last first."""
    return service.files.page(caller, limit)


@router.get("/{sha256}")
def get(sha256: _Sha256, service: ServiceOf, caller: CallerOf) -> wire.File:
    """What of a file is there."""
    return service.files.get(caller, sha256)


@router.put(
    "/{sha256}/parts/{part}",
    status_code=204,
    response_class=Response,
    openapi_extra=TAKES_OCTETS,
)
def put(
    sha256: _Sha256,
    part: Annotated[int, Path(ge=0, le=10_000_000, description="The number of the part, counted from 0.")],
    service: ServiceOf,
    caller: CallerOf,
    data: OctetsOf,
) -> None:
    """Send a part: its bytes are the body. The same part may be sent again."""
    service.files.put(caller, sha256, part, data)


@router.post("/{sha256}/finish", dependencies=[place_for(PROOFS)])
def finish(sha256: _Sha256, service: ServiceOf, caller: CallerOf) -> wire.File:
    """Have a file proven by its digest, once all parts are there; then specs may name it."""
    return service.files.finish(caller, sha256)


@router.delete("/{sha256}", status_code=204, response_class=Response)
def delete(sha256: _Sha256, service: ServiceOf, caller: CallerOf) -> None:
    """Delete a file. It is refused while a run that needs it has not prepared its data."""
    service.files.delete(caller, sha256)
