"""Take the metric records of a run's attempts into the database: from storage, and as they are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator import contract
from orchestrator.db import Attempt, Database, Point
from orchestrator.defaults import POINTS_PER_RUN


def take_in_records(
    database: Database, run_id: str, store: contract.Store, now: float, most: int = POINTS_PER_RUN
) -> list[Attempt]:
    """Read what the record of each attempt has said since the last time; safe to repeat and to cut off.
    No more than `most` points of a run are kept; lines that are no records are passed over.

    The attempts that are known then, oldest first.
    """
    known = {attempt.number: attempt for attempt in database.attempts(run_id)}
    for claim in contract.attempts(store):
        new = claim.attempt not in known
        after = known.get(claim.attempt, Attempt(claim.attempt, claim.launch))
        pieces = contract.pieces_of_stream(store, claim.attempt, "metrics", after.offset)
        if new:
            told = contract.pick_records(next(pieces, b""))
            after = _take_in(database, run_id, after, told, now, most, new=True)
        for told in map(contract.pick_records, pieces):
            after = _take_in(database, run_id, after, told, now, most, new=False)
        known[claim.attempt] = after
    return [known[number] for number in sorted(known)]


def take_in_report(
    database: Database,
    run_id: str,
    before: Attempt,
    offset: int,
    data: bytes,
    now: float,
    most: int = POINTS_PER_RUN,
) -> int:
    """Take in what an attempt reports of its record, from `offset` on; the offset that is known then.

    What is known already is left as it is, and so is what does not follow on that.

    Raises:
        ValueError: it is no part of a metric record.
    """
    if not offset <= before.offset < offset + len(data):
        return before.offset
    told = contract.parse_records(data[before.offset - offset :])
    return _take_in(database, run_id, before, told, now, most, new=False).offset


def _take_in(
    database: Database,
    run_id: str,
    before: Attempt,
    told: tuple[Sequence[contract.Record], int],
    now: float,
    most: int,
    *,
    new: bool,
) -> Attempt:
    """Take in the records that follow on `before`, and how many bytes they are; the attempt as it is known
    after it."""
    records, size = told
    after = _after(before, records, size)
    if records or new:
        after = replace(after, heard=now)
        database.take_in(run_id, before, after, _points(records), most)
    return after


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
        elif record.kind == "checkpoint" and record.step >= after.checkpoint:
            after = replace(after, checkpoint=record.step, checkpoint_time=record.time)
    return after


def _points(records: Sequence[contract.Record]) -> list[Point]:
    return [
        Point(key, record.step, float(value), record.time)
        for record in records
        if record.kind == "metrics"
        for key, value in record.values.items()
    ]


def _whole(value: float | None) -> int | None:
    """A number of steps; None where it could be none, such as what is no number."""
    return int(value) if value is not None and 0 <= value <= contract.MAX_STEP else None
