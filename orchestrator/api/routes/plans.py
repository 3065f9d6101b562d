"""`/api/v1/plans`: what a run would be, without making one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from orchestrator import wire
from orchestrator.api.places import PLANS, place_for
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/plans", tags=["plans"])

_AGAINST = "The id of a run, or the name of a spec for its newest: tell what changed since."


@router.post("", dependencies=[place_for(PLANS)])
def make(
    asked: wire.Submission,
    service: ServiceOf,
    caller: CallerOf,
    against: Annotated[wire.Word | None, Query(description=_AGAINST)] = None,
) -> wire.Plan:
    """Foresee a run: its data is proven, its config written, its steps, memory, time and price told, and
    what differs from an earlier run.

    It reads the data, so it may take minutes; nothing of it is kept but what was counted. Rows that lie
    elsewhere are fetched for nobody who comes with a credential: preparing reads those."""
    return service.plans.make(caller, asked, against)
