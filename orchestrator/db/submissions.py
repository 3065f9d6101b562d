"""Submitting: a run, its first event and its idempotency key in one transaction."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import INSERTS, serialise
from orchestrator.db.events import add_first_event
from orchestrator.db.rows import FINAL, run_of, to_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.usage import Check, stored_by
from orchestrator.db.values import Run
from orchestrator.errors import ConflictError, TakenError

# Made once: making a statement takes longer than PostgreSQL does to follow it.
_ADD = {kind: make(t.runs).on_conflict_do_nothing().returning(t.runs.c.id) for kind, make in INSERTS.items()}
_KEEP = {
    kind: make(t.requests).on_conflict_do_nothing().returning(t.requests.c.key)
    for kind, make in INSERTS.items()
}
_WAS_DELETED = sa.select(t.deleted_runs.c.id).where(t.deleted_runs.c.id == sa.bindparam("run"))
_REQUESTED = (
    sa.select(t.runs, t.requests.c.fingerprint, t.requests.c.run)
    .join_from(t.requests, t.runs, t.requests.c.run == t.runs.c.id, isouter=True)
    .where(t.requests.c.project == sa.bindparam("of"), t.requests.c.key == sa.bindparam("by"))
)


class Submissions(Transactions):
    """Submissions and the keys they came with."""

    def submit(
        self,
        run: Run,
        *,
        key: str | None = None,
        fingerprint: str = "",
        go_on: bool = False,
        check: Check = lambda _: None,
    ) -> tuple[Run, bool]:
        """Record a submission: the fresh run (True), or the one that was there for it (False).

        That is the run which the same key got before or, with `go_on`, the newest unfinished one of the
        same spec and folder. `check` is called before a fresh one is recorded.

        Raises:
            ConflictError: the key came with another fingerprint, or its run was deleted.
            TakenError: another run has the fresh one's id, or had it.
        """
        with self.writing(recorded=False) as connection:
            there = _go_on(connection, run) if go_on else None
            if key and not _keep_request(connection, there or run, key, fingerprint, run.created):
                request = connection.execute(_REQUESTED, {"of": run.project, "by": key}).mappings().one()
                return _requested(request, key, fingerprint), False
            if there is None:
                check(partial(stored_by, connection, run.project))
                _add_run(connection, run)
                self.record(connection)
        return there or run, there is None

    def requested(self, project: str, key: str, fingerprint: str) -> Run | None:
        """The run that an idempotency key of a project got before, where it got one.

        Raises:
            ConflictError: it came with another fingerprint, or its run was deleted.
        """
        with self.reading() as connection:
            request = connection.execute(_REQUESTED, {"of": project, "by": key}).mappings().one_or_none()
        return _requested(request, key, fingerprint) if request else None


def _add_run(connection: sa.Connection, run: Run) -> None:
    """Add a run and its first event."""
    taken = connection.scalar(_WAS_DELETED, {"run": run.id}) is not None
    if taken or connection.scalar(_ADD[connection.dialect.name], vars(run)) is None:
        raise TakenError(f"there is a run {run.id} already")
    add_first_event(connection, run)


def _requested(row: sa.RowMapping, key: str, fingerprint: str) -> Run:
    """The run that a key got before."""
    if row["fingerprint"] != fingerprint:
        raise ConflictError(
            f"the idempotency key {key!r} was used for another submission, that of {row['run']}",
            hint="give each submission a key of its own",
        )
    if row["id"] is None:
        raise ConflictError(
            f"{row['run']}, which the idempotency key {key!r} got, was deleted",
            hint="give each submission a key of its own",
        )
    return run_of({name: value for name, value in row.items() if name not in ("fingerprint", "run")})


def _keep_request(connection: sa.Connection, run: Run, key: str, fingerprint: str, now: float) -> bool:
    """Keep what a key is used for; False where it was before. Whoever uses it just now is waited for."""
    values = {"project": run.project, "key": key, "fingerprint": fingerprint, "run": run.id, "created": now}
    return connection.scalar(_KEEP[connection.dialect.name], values) is not None


def _go_on(connection: sa.Connection, run: Run) -> Run | None:
    """The newest run of the same spec, its paths starting from the same folder, that has not ended."""
    serialise(connection, "spec", run.project, run.spec_digest, run.base)
    query = (
        sa.select(t.runs)
        .where(t.runs.c.project == run.project, t.runs.c.status.not_in(FINAL))
        .where(t.runs.c.spec_digest == run.spec_digest, t.runs.c.base == run.base)
        .order_by(t.runs.c.created.desc())
    )
    row = connection.execute(query.limit(1)).one_or_none()
    return to_run(row) if row else None
