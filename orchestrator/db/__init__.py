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
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runs import Intent, Reason, Status

HEAD = "0002"
_FINAL = [status.value for status in Status if status.final]


@dataclass(frozen=True)
class Run:
    """Our record of one submission.

    `base` is the folder that the spec's relative paths start from; `tracked` the status MLflow was
    last told; `facts` what steps found out (dataset, model and adapter digests, forecast, scores).
    `look` is when the controller must look at it next, None for not before something is wanted of it;
    `step` and `loss` are of its newest point, `total_steps` what its trainer counted.
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
    project: str = "default"
    owner: str = "local"
    look: float | None = None
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None


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
    """A change of a run's status or reason; `id` only ever grows."""

    id: int
    run: str
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

    def check(self) -> None:
        """Whether the database answers."""
        with self.engine.connect() as connection:
            connection.execute(sa.select(1))

    def submit(
        self, run: Run, *, key: str | None = None, fingerprint: str = "", go_on: bool = False
    ) -> tuple[Run, bool]:
        """Record a submission: the fresh run (True), or the one that was there for it (False).

        That is the run which the same key got before or, with `go_on`, the newest unfinished one of the
        same spec and folder.

        Raises:
            ConflictError: the key came with another fingerprint.
        """
        with self._writer.begin() as connection:
            there = _requested(connection, run.project, key, fingerprint) if key else None
            if there is None and go_on:
                there = _unfinished(connection, run)
            if there is None:
                connection.execute(t.runs.insert().values(dataclasses.asdict(run)))
                _add_event(connection, run.id, run.created, run.status, run.reason, run.message)
            if key:
                _keep_request(connection, there or run, key, fingerprint, run.created)
        return there or run, there is None

    def run(self, name: str, project: str | None = None) -> Run:
        """The run of that id, else the newest of that name; in a project, where one is given.

        Raises:
            NotFoundError: with a near name.
        """
        query = (
            sa.select(t.runs)
            .where(sa.or_(t.runs.c.id == name, t.runs.c.name == name))
            .order_by((t.runs.c.id == name).desc(), t.runs.c.created.desc())
        )
        with self.engine.connect() as connection:
            row = connection.execute(_within(query, project).limit(1)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no run {name!r}", hint=self._near(name, project))
        return _to_run(row)

    def page(
        self,
        project: str,
        *,
        status: Sequence[Status] = (),
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Run], str | None]:
        """Runs of a project, newest first, and the cursor of the next page, None after the last.

        Raises:
            NotFoundError: the cursor is none of ours.
        """
        query = _within(sa.select(t.runs), project).order_by(t.runs.c.created.desc(), t.runs.c.id.desc())
        if status:
            query = query.where(t.runs.c.status.in_([each.value for each in status]))
        if name is not None:
            query = query.where(t.runs.c.name == name)
        if cursor is not None:
            query = query.where(sa.tuple_(t.runs.c.created, t.runs.c.id) < _parse_cursor(cursor))
        with self.engine.connect() as connection:
            found = [_to_run(row) for row in connection.execute(query.limit(limit + 1))]
        more = len(found) > limit
        return found[:limit], f"{found[limit - 1].created!r}:{found[limit - 1].id}" if more else None

    def runs(self, limit: int = 100) -> list[Run]:
        """The newest runs first, of all projects."""
        query = sa.select(t.runs).order_by(t.runs.c.created.desc()).limit(limit)
        with self.engine.connect() as connection:
            return [_to_run(row) for row in connection.execute(query)]

    def due(self, now: float, limit: int) -> list[Run]:
        """The runs that the controller must look at by now, those that have waited longest first."""
        query = sa.select(t.runs).where(t.runs.c.look <= now).order_by(t.runs.c.look).limit(limit)
        with self.engine.connect() as connection:
            return [_to_run(row) for row in connection.execute(query)]

    def look_again(self, run: str, seen: float | None, look: float | None) -> None:
        """Say when to look at a run again, unless somebody has wanted something of it since `seen`."""
        query = _update(run, look=look).where(t.runs.c.look.is_not_distinct_from(seen))
        with self._writer.begin() as connection:
            connection.execute(query)

    def look_now(self, run: str, now: float) -> None:
        """Have the controller look at a run at once."""
        with self._writer.begin() as connection:
            connection.execute(_update(run, look=now))

    def hold_lease(self, name: str, holder: str, now: float, seconds: float) -> int | None:
        """Take or prolong a lease; its fence, which grows with each new holder, or None while another
        one's runs."""
        expires = now + seconds
        free = sa.or_(t.leases.c.holder == holder, t.leases.c.expires <= now)
        fence = sa.case((t.leases.c.holder == holder, t.leases.c.fence), else_=t.leases.c.fence + 1)
        take = (
            t.leases.update()
            .where(t.leases.c.name == name, free)
            .values(holder=holder, fence=fence, expires=expires)
            .returning(t.leases.c.fence)
        )
        first = insert(t.leases).values(name=name, holder=holder, fence=1, expires=expires)
        with self._writer.begin() as connection:
            connection.execute(first.on_conflict_do_nothing())
            held: int | None = connection.scalar(take)
        return held

    def release_lease(self, name: str, holder: str) -> None:
        """Let another one hold a lease at once."""
        release = t.leases.update().where(t.leases.c.name == name, t.leases.c.holder == holder)
        with self._writer.begin() as connection:
            connection.execute(release.values(expires=0.0))

    def names(self, project: str | None = None) -> list[str]:
        """The ids of the newest thousand runs, newest first."""
        query = _within(sa.select(t.runs.c.id), project).order_by(t.runs.c.created.desc()).limit(1000)
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def _near(self, name: str, project: str | None) -> str:
        """What to say to somebody who asked for a run that is not there."""
        near = difflib.get_close_matches(name, self.names(project), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        return f"{meant}`axo get` lists the runs there are"

    def set_intent(self, run: str, intent: Intent, now: float) -> None:
        with self._writer.begin() as connection:
            connection.execute(_update(run, intent=intent, updated=now, look=now))

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
            if changes := _newest(after, points):
                connection.execute(_update(run, **changes))
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

    def events(self, run: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """The events of a run that came after the one of that id, oldest first."""
        query = sa.select(t.events).where(t.events.c.run == run, t.events.c.id > after)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(t.events.c.id).limit(limit)).mappings()
            return [Event(**row) for row in rows]


def _add_point(connection: sa.Connection, run: str, attempt: int, point: Point) -> bool:
    """Whether the point is a loss that an earlier attempt has logged: a step trained again."""
    values = {"run": run, "attempt": attempt, "shipped": False, **dataclasses.asdict(point)}
    done = connection.execute(insert(t.points).values(values).on_conflict_do_nothing())
    return point.key == "loss" and done.rowcount == 0


def _newest(attempt: Attempt, points: Sequence[Point]) -> dict[str, Any]:
    """What of a run changes with newer points: its step and loss, and how many steps it has."""
    losses = [point for point in points if point.key == "loss"]
    newest = max(losses, key=lambda point: point.step, default=None)
    changes: dict[str, Any] = {"step": newest.step, "loss": newest.value} if newest else {}
    if attempt.total_steps is not None:
        changes["total_steps"] = attempt.total_steps
    return changes


def _within(query: sa.Select[Any], project: str | None) -> sa.Select[Any]:
    return query if project is None else query.where(t.runs.c.project == project)


def _parse_cursor(text: str) -> tuple[float, str]:
    created, colon, run = text.partition(":")
    try:
        if colon:
            return float(created), run
    except ValueError:
        pass
    raise NotFoundError("there is no page at that cursor", hint="take the cursor of the page before")


def _requested(connection: sa.Connection, project: str, key: str, fingerprint: str) -> Run | None:
    """The run that a key got before."""
    query = (
        sa.select(t.runs, t.requests.c.fingerprint.label("fingerprint"))
        .join(t.requests, t.requests.c.run == t.runs.c.id)
        .where(t.requests.c.project == project, t.requests.c.key == key)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise ConflictError(
            f"the idempotency key {key!r} was used for another submission, that of {row['id']}",
            hint="give each submission a key of its own",
        )
    return _run_of({name: value for name, value in row.items() if name != "fingerprint"})


def _keep_request(connection: sa.Connection, run: Run, key: str, fingerprint: str, now: float) -> None:
    values = {"project": run.project, "key": key, "fingerprint": fingerprint, "run": run.id, "created": now}
    connection.execute(insert(t.requests).values(values).on_conflict_do_nothing())


def _unfinished(connection: sa.Connection, run: Run) -> Run | None:
    """The newest run of the same spec, its paths starting from the same folder, that has not ended."""
    query = (
        _within(sa.select(t.runs), run.project)
        .where(t.runs.c.spec_digest == run.spec_digest, t.runs.c.base == run.base)
        .where(t.runs.c.status.not_in(_FINAL))
        .order_by(t.runs.c.created.desc())
    )
    row = connection.execute(query.limit(1)).one_or_none()
    return _to_run(row) if row else None


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
    return _run_of(row._mapping)


def _run_of(row: Mapping[Any, Any]) -> Run:
    values = {str(name): value for name, value in row.items()}
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
