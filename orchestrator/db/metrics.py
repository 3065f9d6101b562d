"""What the metric records of attempts said: each point once, and what was shipped of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.events import add_event
from orchestrator.db.rows import hold_run, update_run
from orchestrator.db.telling import with_points
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Attempt, Point, Series
from orchestrator.defaults import POINTS_PER_RUN
from orchestrator.errors import TooLargeError
from orchestrator.reasons import Reason
from orchestrator.runs import Status


class Metrics(Transactions):
    """Attempts and their points."""

    def attempts(self, run: str) -> list[Attempt]:
        """What the metric records of a run have said so far, oldest attempt first."""
        query = sa.select(t.attempts).where(t.attempts.c.run == run).order_by(t.attempts.c.number)
        with self.reading() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def take_in(
        self, run: str, before: Attempt, after: Attempt, points: Sequence[Point], most: int = POINTS_PER_RUN
    ) -> int:
        """Take in the points between two states of an attempt's record, once.

        A point (run, key, step) that is there already keeps its first value. Returns how many
        steps were trained again, and adds them to the run's lost steps. What comes once there are `most`
        points of the run is left out and counted, and an event says so the first time. Does nothing when
        the record has been read beyond `before.offset`.
        """
        with self.writing() as connection:
            held = hold_run(connection, run)
            if held is None or _taken(connection, run, before.number) != before.offset:
                return 0
            taken = points[: max(0, most - held.points)]
            added = _add_points(connection, run, after.number, taken)
            lost = sum(point.key == "loss" for point in taken) - added.count("loss")
            values = {"run": run, **dataclasses.asdict(after)}
            connection.execute(
                insert(connection, t.attempts)
                .values(values)
                .on_conflict_do_update(index_elements=["run", "number"], set_=values)
            )
            more = {"points": len(added), "points_left_out": len(points) - len(taken), "lost_steps": lost}
            changes = {name: t.runs.c[name] + count for name, count in more.items() if count}
            changes |= _newest(after, points) | ({"tell": with_points(after.heard or 0.0)} if taken else {})
            if changes:
                connection.execute(update_run(run, **changes))
            if more["points_left_out"] and not held.points_left_out:
                _tell_of_too_many(connection, run, held, most, after.heard or points[-1].time)
        return lost

    def points(self, run: str, key: str | None = None) -> list[Point]:
        """The points of a run, by step."""
        query = sa.select(t.points).where(t.points.c.run == run).order_by(t.points.c.step, t.points.c.key)
        if key is not None:
            query = query.where(t.points.c.key == key)
        with self.reading() as connection:
            return [_to_point(row) for row in connection.execute(query)]

    def series(
        self,
        run: str,
        keys: Sequence[str],
        most: int,
        first: int = 0,
        last: int | None = None,
        *,
        in_all: int = sys.maxsize,
    ) -> dict[str, Series]:
        """The points of metrics (all, where no key is given) at steps `first` to `last`, at most `most` of
        each, evenly spread over them, its newest among them; the database thins them out. Each has fewer
        where all of them would have more than `in_all`.

        Raises:
            TooLargeError: there are more metrics than that.
        """
        p = t.points.c
        wanted = [p.run == run, p.step >= first]
        wanted += [p.key.in_(keys)] if keys else []
        wanted += [p.step <= last] if last is not None else []
        with self.reading() as connection:
            count = len(keys) or connection.scalar(sa.select(sa.func.count(p.key.distinct())).where(*wanted))
        most = min(most, _share(in_all, count or 1))
        place = sa.func.row_number().over(partition_by=p.key, order_by=p.step).label("place")
        total = sa.func.count().over(partition_by=p.key).label("total")
        ranked = sa.select(p.key, p.step, p.value, p.time, place, total).where(*wanted).subquery()
        query = sa.select(ranked).where(_is_kept(ranked.c.place, ranked.c.total, most))
        found: dict[str, Series] = {}
        with self.reading() as connection:
            for row in connection.execute(query.order_by(ranked.c.key, ranked.c.step)):
                found.setdefault(row.key, Series(row.total, [])).points.append(_to_point(row))
        return found

    def newest_point(self, run: str, key: str) -> Point | None:
        """The point of a metric with the highest step."""
        query = sa.select(t.points).where(t.points.c.run == run, t.points.c.key == key)
        with self.reading() as connection:
            row = connection.execute(query.order_by(t.points.c.step.desc()).limit(1)).one_or_none()
        return _to_point(row) if row else None

    def newest_times(self, run: str, limit: int) -> list[float]:
        """When the newest losses were recorded, newest first, by the clock of who recorded them."""
        query = sa.select(t.points.c.time).where(t.points.c.run == run, t.points.c.key == "loss")
        with self.reading() as connection:
            return list(connection.scalars(query.order_by(t.points.c.step.desc()).limit(limit)))

    def reached(self, run: str) -> dict[int, int]:
        """The highest step whose loss each attempt was the first to log, by attempt."""
        highest = sa.func.max(t.points.c.step)
        query = sa.select(t.points.c.attempt, highest).where(t.points.c.run == run, t.points.c.key == "loss")
        with self.reading() as connection:
            rows = connection.execute(query.group_by(t.points.c.attempt))
            return {row[0]: row[1] for row in rows}

    def points_to_ship(self, run: str, limit: int) -> list[Point]:
        """The oldest points the tracking server has not confirmed."""
        query = (
            sa.select(t.points)
            .where(t.points.c.run == run, t.points.c.shipped.is_(False))
            .order_by(t.points.c.step, t.points.c.key)
        )
        with self.reading() as connection:
            return [_to_point(row) for row in connection.execute(query.limit(limit))]

    def mark_shipped(self, run: str, points: Sequence[Point]) -> None:
        named = [{"k": point.key, "s": point.step} for point in points]
        query = (
            t.points.update()
            .where(t.points.c.run == run, t.points.c.key == sa.bindparam("k"))
            .where(t.points.c.step == sa.bindparam("s"))
            .values(shipped=True)
        )
        if named:
            with self.writing() as connection:
                connection.execute(query, named)


def _share(points: int, metrics: int) -> int:
    """How many points each metric may have."""
    if metrics > points:
        what = f"there are {metrics:,} metrics, and an answer has {points:,} points at most"
        raise TooLargeError(what, hint="ask for some of them by their keys")
    return points // metrics


def _is_kept(place: sa.ColumnElement[int], count: sa.ColumnElement[int], most: int) -> sa.ColumnElement[bool]:
    """Whether the point at a place, counted from 1, is one of `most` that are spread evenly over `count`."""
    if most == 1:
        return place == count
    gaps = sa.func.nullif(count - 1, 0)
    begins = (place - 1) * (most - 1) // gaps > (place - 2) * (most - 1) // gaps
    return sa.or_(count <= most, place == 1, begins)


def _add_points(connection: sa.Connection, run: str, attempt: int, points: Sequence[Point]) -> list[str]:
    """Add the points that are not there; the key of each of them."""
    rows = [{"run": run, "attempt": attempt, "shipped": False, **dataclasses.asdict(p)} for p in points]
    if not rows:
        return []
    fresh = insert(connection, t.points).on_conflict_do_nothing().returning(t.points.c.key)
    return list(connection.scalars(fresh, rows))


def _tell_of_too_many(connection: sa.Connection, run: str, held: sa.Row[Any], most: int, now: float) -> None:
    message = f"It has {most:,} points of metrics, and no more of a run are kept. "
    message += "Training goes on, and its record in storage has all of them."
    add_event(connection, run, now, Status(held.status), held.reason and Reason(held.reason), message)


def _newest(attempt: Attempt, points: Sequence[Point]) -> dict[str, Any]:
    """What of a run changes with newer points: its step and loss, and how many steps it has."""
    losses = [point for point in points if point.key == "loss"]
    newest = max(losses, key=lambda point: point.step, default=None)
    changes: dict[str, Any] = {"step": newest.step, "loss": newest.value} if newest else {}
    if attempt.total_steps is not None:
        changes["total_steps"] = attempt.total_steps
    return changes


def _taken(connection: sa.Connection, run: str, attempt: int) -> int:
    query = sa.select(t.attempts.c.offset).where(t.attempts.c.run == run, t.attempts.c.number == attempt)
    return connection.scalar(query) or 0


def _to_attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(**{name: value for name, value in row._mapping.items() if name != "run"})


def _to_point(row: sa.Row[Any]) -> Point:
    return Point(row.key, row.step, float("nan") if row.value is None else row.value, row.time)
