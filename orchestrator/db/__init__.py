"""What this service remembers: runs, launches, metric points, publications, events.

Every function is one transaction. Values in and out are frozen dataclasses; times are seconds
since 1970 and come in as arguments.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from orchestrator.contract import StepKind
from orchestrator.db import tables as t
from orchestrator.errors import NotFoundError
from orchestrator.runs import Intent, Reason, Status

HEAD = "0001"
_FINAL = [status.value for status in Status if status.final]


@dataclass(frozen=True)
class Run:
    """Our record of one submission.

    `base` is the folder that the spec's relative paths start from; `tracked` the status MLflow was
    last told; `facts` what steps found out (dataset, model and adapter digests, forecast, scores).
    """

    id: str
    name: str
    spec_digest: str
    spec: Mapping[str, Any]
    spec_text: str
    base: str
    storage: str
    status: Status
    created: float
    updated: float
    reason: Reason | None = None
    message: str = ""
    intent: Intent = Intent.RUN
    ended: float | None = None
    mlflow_run: str | None = None
    mlflow_url: str | None = None
    tracked: str | None = None
    lost_steps: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """One launch we decided on, whether or not its making was finished."""

    number: int
    step: StepKind
    micro_batch_size: int | None
    created: float


@dataclass(frozen=True)
class Attempt:
    """What an attempt's metric record has said so far, of which `offset` bytes were read.

    `started` and `last` are the times of its first and newest line; `checkpoint` is the highest
    step it committed.
    """

    number: int
    launch: int
    offset: int = 0
    started: float | None = None
    last: float | None = None
    total_steps: int | None = None
    resumed_from: int | None = None
    checkpoint: int = 0


@dataclass(frozen=True)
class Point:
    """One value of one metric at one step."""

    key: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Publication:
    """A registry's confirmation of the adapter, read back by digest."""

    target: int
    registry: str
    reference: str
    version: str
    url: str
    digest: str
    time: float


@dataclass(frozen=True)
class Event:
    """A change of a run's status or reason."""

    time: float
    status: str
    reason: str | None
    message: str


def open_database(url: str) -> Database:
    """The database at a URL, migrated to this version: `sqlite:///<path>`."""
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin)
    with engine.execution_options(write=True).begin() as connection:
        if _revision(connection) != HEAD:
            _migrate(connection)
    return Database(engine)


class Database:
    """The queries. `engine` is only for tests and migrations."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(write=True)

    def close(self) -> None:
        self.engine.dispose()

    def add_run(self, run: Run) -> None:
        with self._writer.begin() as connection:
            connection.execute(t.runs.insert().values(dataclasses.asdict(run)))
            _add_event(connection, run.id, run.created, run.status, run.reason, run.message)

    def run(self, name: str) -> Run:
        """The run of that id, else the newest of that name. Raises NotFoundError."""
        query = (
            sa.select(t.runs)
            .where(sa.or_(t.runs.c.id == name, t.runs.c.name == name))
            .order_by((t.runs.c.id == name).desc(), t.runs.c.created.desc())
        )
        with self.engine.connect() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no run {name!r}", hint=self._near(name))
        return _to_run(row)

    def runs(self, limit: int = 100) -> list[Run]:
        """The newest runs first."""
        query = sa.select(t.runs).order_by(t.runs.c.created.desc()).limit(limit)
        with self.engine.connect() as connection:
            return [_to_run(row) for row in connection.execute(query)]

    def names(self) -> list[str]:
        """The ids of all runs, newest first."""
        query = sa.select(t.runs.c.id).order_by(t.runs.c.created.desc())
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def _near(self, name: str) -> str:
        """What to say to somebody who asked for a run that is not there."""
        near = difflib.get_close_matches(name, self.names(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        return f"{meant}`axo get` lists the runs there are"

    def unfinished(self, spec_digest: str, base: str) -> Run | None:
        """The newest run of the same spec, its paths starting from the same folder, that has not ended."""
        query = (
            sa.select(t.runs)
            .where(t.runs.c.spec_digest == spec_digest, t.runs.c.base == base)
            .where(t.runs.c.status.not_in(_FINAL))
            .order_by(t.runs.c.created.desc())
        )
        with self.engine.connect() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return _to_run(row) if row else None

    def set_intent(self, run: str, intent: Intent, now: float) -> None:
        with self._writer.begin() as connection:
            connection.execute(_update(run, intent=intent, updated=now))

    def move(self, run: Run, status: Status, reason: Reason | None, message: str, now: float) -> Run:
        """Write a new status; an event too where it, or its reason, differs."""
        if (run.status, run.reason, run.message) == (status, reason, message):
            return run
        ended = now if status.final else None
        changes = {"status": status, "reason": reason, "message": message, "updated": now, "ended": ended}
        with self._writer.begin() as connection:
            connection.execute(_update(run.id, **changes))
            _add_event(connection, run.id, now, status, reason, message)
        return dataclasses.replace(
            run, status=status, reason=reason, message=message, updated=now, ended=ended
        )

    def update(self, run: Run, **changes: Any) -> Run:
        """Write fields other than the status."""
        with self._writer.begin() as connection:
            connection.execute(_update(run.id, **changes))
        return dataclasses.replace(run, **changes)

    def add_facts(self, run: Run, facts: Mapping[str, Any]) -> Run:
        """Merge what a step found out into the run's facts."""
        return self.update(run, facts={**run.facts, **facts})

    def add_launch(self, run: str, step: StepKind, micro_batch_size: int | None, now: float) -> int:
        """Decide on the next launch; its number."""
        with self._writer.begin() as connection:
            highest: int | None = connection.scalar(_highest_launch(run))
            number = (highest or 0) + 1
            values = {"run": run, "number": number, "step": step, "micro_batch_size": micro_batch_size}
            connection.execute(t.launches.insert().values(**values, created=now))
        return number

    def launches(self, run: str) -> list[Launch]:
        """The launches of a run, oldest first."""
        query = sa.select(t.launches).where(t.launches.c.run == run).order_by(t.launches.c.number)
        with self.engine.connect() as connection:
            return [
                Launch(row.number, row.step, row.micro_batch_size, row.created)
                for row in connection.execute(query)
            ]

    def attempts(self, run: str) -> list[Attempt]:
        """What the metric records of a run have said so far, oldest attempt first."""
        query = sa.select(t.attempts).where(t.attempts.c.run == run).order_by(t.attempts.c.number)
        with self.engine.connect() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def take_in(self, run: str, before: Attempt, after: Attempt, points: Sequence[Point]) -> int:
        """Take in the points between two states of an attempt's record, once.

        A point (run, key, step) that is there already keeps its first value. Returns how many
        steps were trained again, and adds them to the run's lost steps. Does nothing when the
        record has been read beyond `before.offset`.
        """
        with self._writer.begin() as connection:
            if _taken(connection, run, before.number) != before.offset:
                return 0
            lost = sum(_add_point(connection, run, after.number, point) for point in points)
            values = {"run": run, **dataclasses.asdict(after)}
            connection.execute(
                insert(t.attempts)
                .values(values)
                .on_conflict_do_update(index_elements=["run", "number"], set_=values)
            )
            if lost:
                connection.execute(_update(run, lost_steps=t.runs.c.lost_steps + lost))
        return lost

    def points(self, run: str, key: str | None = None) -> list[Point]:
        """The points of a run, by step."""
        query = sa.select(t.points).where(t.points.c.run == run).order_by(t.points.c.step, t.points.c.key)
        if key is not None:
            query = query.where(t.points.c.key == key)
        with self.engine.connect() as connection:
            return [_to_point(row) for row in connection.execute(query)]

    def newest_point(self, run: str, key: str) -> Point | None:
        """The point of a metric with the highest step."""
        query = sa.select(t.points).where(t.points.c.run == run, t.points.c.key == key)
        with self.engine.connect() as connection:
            row = connection.execute(query.order_by(t.points.c.step.desc()).limit(1)).one_or_none()
        return _to_point(row) if row else None

    def reached(self, run: str) -> dict[int, int]:
        """The highest step whose loss each attempt was the first to log, by attempt."""
        highest = sa.func.max(t.points.c.step)
        query = sa.select(t.points.c.attempt, highest).where(t.points.c.run == run, t.points.c.key == "loss")
        with self.engine.connect() as connection:
            rows = connection.execute(query.group_by(t.points.c.attempt))
            return {row[0]: row[1] for row in rows}

    def points_to_ship(self, run: str, limit: int) -> list[Point]:
        """The oldest points the tracking server has not confirmed."""
        query = (
            sa.select(t.points)
            .where(t.points.c.run == run, t.points.c.shipped.is_(False))
            .order_by(t.points.c.step, t.points.c.key)
        )
        with self.engine.connect() as connection:
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
            with self._writer.begin() as connection:
                connection.execute(query, named)

    def publications(self, run: str) -> list[Publication]:
        query = sa.select(t.publications).where(t.publications.c.run == run)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(t.publications.c.target)).mappings()
            return [Publication(**{k: v for k, v in row.items() if k != "run"}) for row in rows]

    def add_publication(self, run: str, publication: Publication) -> None:
        values = {"run": run, **dataclasses.asdict(publication)}
        keys = ["run", "target"]
        changed = {name: value for name, value in values.items() if name not in keys}
        with self._writer.begin() as connection:
            connection.execute(
                insert(t.publications).values(values).on_conflict_do_update(index_elements=keys, set_=changed)
            )

    def events(self, run: str) -> list[Event]:
        query = sa.select(t.events).where(t.events.c.run == run).order_by(t.events.c.id)
        with self.engine.connect() as connection:
            return [Event(row.time, row.status, row.reason, row.message) for row in connection.execute(query)]


def _add_point(connection: sa.Connection, run: str, attempt: int, point: Point) -> bool:
    """Whether the point is a loss that an earlier attempt has logged: a step trained again."""
    values = {"run": run, "attempt": attempt, "shipped": False, **dataclasses.asdict(point)}
    done = connection.execute(insert(t.points).values(values).on_conflict_do_nothing())
    return point.key == "loss" and done.rowcount == 0


def _taken(connection: sa.Connection, run: str, attempt: int) -> int:
    query = sa.select(t.attempts.c.offset).where(t.attempts.c.run == run, t.attempts.c.number == attempt)
    return connection.scalar(query) or 0


def _add_event(
    connection: sa.Connection, run: str, now: float, status: Status, reason: Reason | None, message: str
) -> None:
    values = {"run": run, "time": now, "status": status, "reason": reason, "message": message}
    connection.execute(t.events.insert().values(values))


def _update(run: str, **changes: Any) -> sa.Update:
    return t.runs.update().where(t.runs.c.id == run).values(changes)


def _highest_launch(run: str) -> sa.Select[Any]:
    return sa.select(sa.func.max(t.launches.c.number)).where(t.launches.c.run == run)


def _to_run(row: sa.Row[Any]) -> Run:
    values = dict(row._mapping)
    values["status"] = Status(values["status"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    values["intent"] = Intent(values["intent"])
    return Run(**values)


def _to_attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(**{name: value for name, value in row._mapping.items() if name != "run"})


def _to_point(row: sa.Row[Any]) -> Point:
    return Point(row.key, row.step, float("nan") if row.value is None else row.value, row.time)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, not the driver's
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    """A writer takes the write lock at once: two that read first and write later would deadlock."""
    writes = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    command.upgrade(config, "head")


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database for the length of a `with` block."""
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()
