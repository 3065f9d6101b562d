"""Take the metric records of a run's attempts into the database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from orchestrator import contract
from orchestrator.db import Attempt, Database, Point


def take_in_records(database: Database, run_id: str, store: contract.Store) -> None:
    """Read what each attempt's record has said since the last time; safe to repeat and to cut off."""
    known = {attempt.number: attempt for attempt in database.attempts(run_id)}
    for claim in contract.attempts(store):
        before = known.get(claim.attempt, Attempt(claim.attempt, claim.launch))
        fresh = contract.read_stream(store, claim.attempt, "metrics", before.offset)
        records, size = contract.parse_records(fresh)
        if records or claim.attempt not in known:
            after = _after(before, records, size)
            database.take_in(run_id, before, after, _points(records))


def _after(before: Attempt, records: Sequence[contract.Record], size: int) -> Attempt:
    after = replace(before, offset=before.offset + size)
    for record in records:
        after = replace(after, started=after.started or record.time, last=record.time)
        if record.kind == "start":
            after = replace(
                after,
                total_steps=_whole(record.values.get("total_steps")),
                resumed_from=_whole(record.values.get("resumed_from")),
            )
        elif record.kind == "checkpoint":
            after = replace(after, checkpoint=max(after.checkpoint, record.step))
    return after


def _points(records: Sequence[contract.Record]) -> list[Point]:
    return [
        Point(key, record.step, float(value), record.time)
        for record in records
        if record.kind == "metrics"
        for key, value in record.values.items()
    ]


def _whole(value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else int(value)
