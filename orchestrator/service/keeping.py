"""The verbs about what is kept and what is thrown away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator import contract, wire
from orchestrator.controller.removals import Removals
from orchestrator.controller.track import behind
from orchestrator.db import Database, DeletedRun, Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.service import told
from orchestrator.service.caller import Caller, Role
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Keeping:
    """Verbs about what becomes of ended runs; each raises NotFoundError for one outside the project."""

    settings: Settings
    database: Database
    clock: Callable[[], float]

    def delete(self, caller: Caller, name: str) -> wire.Deleted:
        """Delete a run that has ended, for ever; one that was deleted before is answered alike.

        It wants the very id: a name stands for the newest run of it, so said twice it would take two.

        Raises:
            ConflictError: somebody needs it yet.
        """
        caller.need(Role.SUBMITTER)
        gone = self._deleted(caller, name) or self._delete(caller, self._run(caller, name))
        return wire.Deleted(
            run=gone.id,
            time=gone.time,
            removed=self._removed(gone),
            versions=[told.publication(each) for each in self.database.publications(gone.id)],
            mlflow=gone.mlflow_url,
        )

    def pin(self, caller: Caller, name: str, *, pinned: bool) -> wire.Run:
        """Keep a run and its files, whatever its spec says, until it is unpinned.

        Raises:
            ConflictError: its files are gone already.
        """
        caller.need(Role.SUBMITTER)
        run = self.database.find_run(name, caller.project)
        if run.pinned is not pinned:
            now, what = self.clock(), "pin" if pinned else "unpin"
            database = self.database.by(caller.change(f"run.{what}", run.id, now))
            run = database.pin(run, f"{what}ned by {caller.name}", now, pinned=pinned)
        return told.run(run, self.settings)

    def _run(self, caller: Caller, name: str) -> Run:
        run = self.database.find_run(name, caller.project)
        if run.id != name:
            raise NotFoundError(f"there is no run of the id {name!r}", hint=f"did you mean {run.id!r}?")
        return run

    def _delete(self, caller: Caller, run: Run) -> DeletedRun:
        if run.mlflow_run is not None and behind(run, self.settings):
            raise ConflictError(
                f"MLflow has yet to hear how {run.id} ended",
                hint="try again in a minute; while MLflow is away, the run stays",
            )
        now = self.clock()
        try:
            return self.database.by(caller.change("run.delete", run.id, now)).delete_run(run, now)
        except NotFoundError:
            if gone := self._deleted(caller, run.id):
                return gone
            raise

    def _deleted(self, caller: Caller, name: str) -> DeletedRun | None:
        gone = self.database.deleted_run(name)
        return gone if gone and gone.project == caller.project else None

    def _removed(self, gone: DeletedRun) -> bool:
        """Whether its folder is gone; what cannot be removed now is left to the controller."""
        removals = Removals(self.database, self.clock)
        noted = self.database.removals(contract.run_key(gone.id))
        return all([removals.one(each) for each in noted if each.storage == gone.storage])  # noqa: C419
