"""How `runs.tell` says since when MLflow must be told of a run, and whether of nothing but points.

A time where there is more than points; the time less FAR, below 0, where there are points alone.
"""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.db import tables as t

FAR = 1e10
_MORE = 1e-5  # makes another number of it, at the same place in the queue


def with_points(now: float) -> sa.ColumnElement[float]:
    """`tell` of a run with new points: another number, yet a run that waits keeps its place."""
    return sa.case((t.runs.c.tell < 0, t.runs.c.tell + _MORE), else_=now - FAR)


def waits_since() -> sa.ColumnElement[float]:
    return sa.case((t.runs.c.tell < 0, t.runs.c.tell + FAR), else_=t.runs.c.tell)
