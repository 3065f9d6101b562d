"""`/api/v1/plans`: what a run would be, without making one."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/plans", tags=["plans"])


@router.post("")
def make(asked: wire.Submission, service: ServiceOf, caller: CallerOf) -> wire.Plan:
    """Foresee a run: its data is proven, its config written, its steps, memory, time and price told.

    It reads the data, so it may take minutes; nothing of it is kept but what was counted."""
    return service.plans.make(caller, asked)
