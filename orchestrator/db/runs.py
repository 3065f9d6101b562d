"""The queries about runs: find them, page through them, write how they stand."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.events import add_event
from orchestrator.db.rows import FINAL, to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Listed, Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.nearest import did_you_mean
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Keep, Status

MOST_WORDS = 10_000  # in a message: whoever trains may say what they like

_log = logging.getLogger(__name__)

_STATUSES = {each.value: each for each in Status}
_INTENTS = {each.value: each for each in Intent}
_NEWEST = (t.runs.c.created.desc(), t.runs.c.id.desc())

# Reading all of a spec and its facts takes ten times as long as what pages show of them.
_LISTED: sa.Select[Any] = sa.select(
    *(t.runs.c[each.name] for each in dataclasses.fields(Listed) if each.name in t.runs.c),
    t.runs.c.spec["base_model"].label("base_model"),
    t.runs.c.spec["compute", "machine"].as_string().label("machine"),
    t.runs.c.facts["dataset"].as_string().label("dataset"),
)


class RunMoved(ConflictError):
    """Somebody else has changed the run's status meanwhile."""


class Runs(Transactions):
    """Runs as they stand."""

    def run(self, run: str) -> Run:
        """The run of that very id, whichever project it is of. Raises NotFoundError where there is none."""
        with self.reading() as connection:
            row = connection.execute(sa.select(t.runs).where(t.runs.c.id == run)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no run of the id {run!r}")
        return to_run(row)

    def find_run(self, name: str, project: str) -> Run:
        """The run of a project with that id, else its newest of that name.

        Raises:
            NotFoundError: with a near name.
        """
        query = (
            sa.select(t.runs)
            .where(t.runs.c.project == project, sa.or_(t.runs.c.id == name, t.runs.c.name == name))
            .order_by((t.runs.c.id == name).desc(), t.runs.c.created.desc())
        )
        with self.reading() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no run {name!r}", hint=self._near(name, project))
        return to_run(row)

    def page(
        self,
        project: str,
        *,
        status: Sequence[Status] = (),
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Listed], str | None]:
        """Runs of a project, newest first, and the cursor of the next page, None after the last.

        Raises:
            NotFoundError: the cursor is none of ours.
        """
        query = _LISTED.where(t.runs.c.project == project).order_by(*_NEWEST)
        if status:
            query = query.where(t.runs.c.status.in_([each.value for each in status]))
        if name is not None:
            query = query.where(t.runs.c.name == name)
        if cursor is not None:
            query = query.where(sa.tuple_(t.runs.c.created, t.runs.c.id) < _parse_cursor(cursor))
        with self.reading() as connection:
            found = [_listed(row) for row in connection.execute(query.limit(limit + 1))]
        more = len(found) > limit
        return found[:limit], f"{found[limit - 1].created!r}:{found[limit - 1].id}" if more else None

    def runs(self, limit: int = 100) -> list[Run]:
        """The newest runs first, of all projects."""
        query = sa.select(t.runs).order_by(t.runs.c.created.desc()).limit(limit)
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query)]

    def finished_on(self, machine: str, project: str, limit: int) -> list[Run]:
        """The newest runs of a project that were trained to their end on a machine."""
        query = sa.select(t.runs).where(
            t.runs.c.project == project,
            t.runs.c.status == Status.SUCCEEDED.value,
            t.runs.c.spec["compute", "machine"].as_string() == machine,
        )
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query.order_by(*_NEWEST).limit(limit))]

    def count(self) -> dict[Status, int]:
        """How many runs there are of each status, in all projects."""
        query = sa.select(t.runs.c.status, sa.func.count()).group_by(t.runs.c.status)
        with self.reading() as connection:
            return {Status(status): number for status, number in connection.execute(query)}

    def names(self, project: str) -> list[str]:
        """The ids of a project's newest thousand runs, newest first."""
        query = sa.select(t.runs.c.id).where(t.runs.c.project == project).order_by(*_NEWEST)
        with self.reading() as connection:
            return list(connection.scalars(query.limit(1000)))

    def project_of(self, run: str) -> str | None:
        """The project of the run of that id."""
        with self.reading() as connection:
            found: str | None = connection.scalar(sa.select(t.runs.c.project).where(t.runs.c.id == run))
        return found

    def set_intent(self, run: str, intent: Intent, now: float, keep: Keep | None = None) -> None:
        """Write what a user wants of a run and, of one to be cancelled, what it is to leave.

        Raises:
            RunMoved: the run has ended, or somebody has had it cancelled.
        """
        wanted = update_run(run, intent=intent, keep=keep, updated=now, look=now).where(
            t.runs.c.status.not_in(FINAL)
        )
        if intent is not Intent.CANCEL:
            wanted = wanted.where(t.runs.c.intent != Intent.CANCEL.value)
        with self.writing() as connection:
            if connection.execute(wanted).rowcount == 0:
                raise RunMoved(f"{run} has ended, or is being cancelled")

    def move(
        self,
        run: Run,
        status: Status,
        reason: Reason | None,
        message: str,
        now: float,
        *,
        look: bool = False,
    ) -> Run:
        """Write a new status; an event too where it, or its reason, differs. A run that had ended is looked
        at again, which nobody else would see to if whoever moves it died now; another one where `look` says
        so.

        Raises:
            RunMoved: the run no longer has the status that it is moved from.
        """
        message = message[:MOST_WORDS]
        same = (run.status, run.reason, run.message) == (status, reason, message)
        if same and not look:
            return run
        changes: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "message": message,
            "updated": now,
            "ended": now if status.final else None,
            "tell": now,
        }
        if run.status.final or look:
            changes["look"] = now
        with self.writing() as connection:
            moved = connection.execute(update_run(run.id, **changes).where(t.runs.c.status == run.status))
            if moved.rowcount == 0:
                raise RunMoved(f"{run.id} is no longer {run.status}")
            if not same:
                add_event(connection, run.id, now, status, reason, message)
        _log.info("%s is %s%s", run.id, status, f" ({reason})" if reason else "")
        return dataclasses.replace(run, **changes)

    def update(self, run: Run, **changes: Any) -> Run:
        """Write fields other than the status."""
        with self.writing() as connection:
            connection.execute(update_run(run.id, **changes))
        return dataclasses.replace(run, **changes)

    def add_facts(self, run: Run, facts: Mapping[str, Any]) -> Run:
        """Merge what a step found out into the run's facts."""
        return self.update(run, facts={**run.facts, **facts})

    def _near(self, name: str, project: str) -> str:
        """What to say to somebody who asked for a run that is not there."""
        deleted = sa.select(t.deleted_runs.c.project).where(t.deleted_runs.c.id == name)
        with self.reading() as connection:
            owner = connection.scalar(deleted)
        if owner == project:
            return "it was deleted; `axo get` lists the runs there are"
        return f"{did_you_mean(name, self.names(project))}`axo get` lists the runs there are"


def _listed(row: sa.Row[Any]) -> Listed:
    values = row._asdict()
    values["status"], values["intent"] = _STATUSES[row.status], _INTENTS[row.intent]
    values["reason"] = Reason(row.reason) if row.reason else None
    return Listed(**values)


def _parse_cursor(text: str) -> tuple[float, str]:
    created, colon, run = text.partition(":")
    try:
        if colon:
            return float(created), run
    except ValueError:
        pass
    raise NotFoundError("there is no page at that cursor", hint="take the cursor of the page before")
