"""Rows of the runs' table, to values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.values import Run
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Keep, Status

FINAL = [status.value for status in Status if status.final]


def to_run(row: sa.Row[Any]) -> Run:
    return run_of(row._mapping)


def run_of(row: Mapping[Any, Any]) -> Run:
    values = {str(name): value for name, value in row.items()}
    values["status"] = Status(values["status"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    values["intent"] = Intent(values["intent"])
    values["keep"] = Keep(values["keep"]) if values["keep"] else None
    return Run(**values)


def update_run(run: str, **changes: Any) -> sa.Update:
    return t.runs.update().where(t.runs.c.id == run).values(changes)


def hold_run(connection: sa.Connection, run: str) -> sa.Row[Any] | None:
    """Make other writers of what belongs to a run wait until this transaction ends; how it stands."""
    names = ("status", "reason", "points", "points_left_out")
    row = sa.select(*(t.runs.c[name] for name in names)).where(t.runs.c.id == run)
    return connection.execute(row.with_for_update(key_share=True)).one_or_none()
