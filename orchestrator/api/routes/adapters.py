"""`/api/v1/runs/../adapter`: what a run made, file by file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from orchestrator import wire
from orchestrator.api.octets import OCTETS
from orchestrator.api.problems import RESPONSES_BESIDE_TEXT
from orchestrator.api.ranges import ranged
from orchestrator.api.routes.runs import RunName
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/runs", tags=["adapters"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file; `ETag` is its SHA-256.", "content": OCTETS},
    206: {"description": "The range of it that was asked for.", "content": OCTETS},
    416: {"description": "It has no such range."},
    **RESPONSES_BESIDE_TEXT,
}
_FilePath = Annotated[
    str,
    Path(pattern=r"^[^\x00-\x1f\x7f]{1,500}$", description="As it stands in `files` of the adapter."),
]


@router.get("/{run}/adapter")
def adapter(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Adapter:
    """The files of a run's finished adapter, card and provenance among them."""
    return service.results.adapter(caller, run)


@router.get("/{run}/adapter/{path:path}", response_class=Response, responses=_FILE)
def adapter_file(
    request: Request, run: RunName, path: _FilePath, service: ServiceOf, caller: CallerOf
) -> Response:
    """A file of the adapter, or with `Range` a part of it: a download that was cut goes on."""
    found = service.results.adapter_file(caller, run, path)
    return ranged(request, found.read, found.size, f'"{found.sha256}"')
