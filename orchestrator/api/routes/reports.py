"""`/api/v1/reports`: how far training is, as its launches tell. A person's credential opens nothing here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from orchestrator import wire
from orchestrator.api.octets import TAKES_OCTETS, OctetsOf
from orchestrator.api.who import ReporterOf, ServiceOf

router = APIRouter(prefix="/reports", tags=["reports"])

_Number = Annotated[int, Path(ge=1, le=wire.MAX_NUMBER)]


@router.put("/{run}/{launch}/{attempt}", openapi_extra=TAKES_OCTETS)
def take_in(
    run: Annotated[str, Path(max_length=100, description="The id of the run.")],
    launch: _Number,
    attempt: _Number,
    offset: Annotated[int, Query(ge=0, le=wire.MAX_ID, description="Where in the record the body begins.")],
    service: ServiceOf,
    reporter: ReporterOf,
    data: OctetsOf,
) -> wire.Reported:
    """Report an attempt's metric record: its next whole lines are the body. What is known already, or does
    not follow on that, changes nothing: the answer says how far the record is known."""
    return service.reports.take_in(reporter, run, launch, attempt, offset, data)
