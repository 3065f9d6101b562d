"""What launches report of themselves: the one verb whose asker is no person, and may do nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator import wire
from orchestrator.backends import Backend, number_of_launch, run_of_launch
from orchestrator.controller.gauges import REPORTS
from orchestrator.controller.heard import Heard, Said
from orchestrator.controller.record import take_in_report
from orchestrator.controller.report import token_digest
from orchestrator.db import Attempt, Database
from orchestrator.errors import AuthError, ConflictError, Fault, FaultsError, ForbiddenError

_HINT = "a launch reports with the token that it was given, for as long as it trains"


@dataclass(frozen=True)
class Reporter:
    """The launch that a credential is of."""

    run: str
    launch: int


@dataclass(frozen=True)
class Reports:
    """Takes in what is reported."""

    database: Database
    backend: Backend
    clock: Callable[[], float]
    heard: Heard
    most_points: int

    def reporter(self, credential: str | None) -> Reporter:
        """The launch that a credential is of, while that is to train.

        Raises:
            AuthError: it is none, or not any more; which of these is not told.
            UnreachableError: nobody can be asked about it now.
        """
        found = self._launch_of(credential) if credential else None
        if found is None:
            raise AuthError("this is no credential of a launch that trains", hint=_HINT)
        return Reporter(*found)

    def take_in(
        self, reporter: Reporter, run: str, launch: int, attempt: int, offset: int, data: bytes
    ) -> wire.Reported:
        """Take in the bytes of an attempt's record from `offset` on; repeating it changes nothing.

        Raises:
            ForbiddenError: it is about another launch than the reporter's.
            ConflictError: a later attempt owns the run.
            FaultsError: the bytes are no part of a record.
        """
        if reporter != Reporter(run, launch):
            raise ForbiddenError("a launch reports for itself alone")
        before = self._before(run, launch, attempt)
        try:
            known = take_in_report(self.database, run, before, offset, data, self.clock(), self.most_points)
        except ValueError as error:
            raise FaultsError([Fault(str(error), path="body")]) from error
        again = self.heard.note(run, Said(launch, attempt, self.clock()))
        REPORTS.inc()
        return wire.Reported(offset=known, again=again)

    def _launch_of(self, credential: str) -> tuple[str, int] | None:
        if not self.backend.vouches:
            return self.database.reporter(token_digest(credential))
        name = self.backend.holder(credential)
        if name is None:
            return None
        run, number = run_of_launch(name), number_of_launch(name)
        return (run, number) if self.database.reports(run, number) else None

    def _before(self, run: str, launch: int, attempt: int) -> Attempt:
        """What is known of an attempt's record. Raises ConflictError where it is not the run's newest."""
        known = self.database.attempts(run)
        newest = max(known, key=lambda each: each.number, default=None)
        if newest is None or attempt > newest.number:
            return Attempt(attempt, launch)
        if (newest.number, newest.launch) != (attempt, launch):
            raise ConflictError(f"attempt {newest.number} owns the run")
        return newest
