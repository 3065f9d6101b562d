"""The verbs about runs: submit, look, want something of them."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from orchestrator import wire
from orchestrator.backends import Backend
from orchestrator.controller.history import attempt_history
from orchestrator.controller.of_run import run_store
from orchestrator.controller.package import newest_config
from orchestrator.db import Database, Run
from orchestrator.errors import (
    ConflictError,
    Fault,
    NotFoundError,
    SpecError,
    StorageError,
    TakenError,
)
from orchestrator.runs import Intent, Keep, Status
from orchestrator.service import told
from orchestrator.service.caller import Caller, Role
from orchestrator.service.checks import check_submission
from orchestrator.service.clone import cloned, mappings_beside
from orchestrator.service.files import uploads_of
from orchestrator.service.logs import read_logs
from orchestrator.service.packed import check_places, with_uploads
from orchestrator.service.reach import check_reach
from orchestrator.service.storage import need_room, need_storage
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, parse_spec
from orchestrator.wire import MAX_POINTS

MAX_PAGE = 500
_ACTIONS = {Intent.RUN: "run.resume", Intent.PAUSE: "run.pause", Intent.CANCEL: "run.cancel"}
_DRAWS = 20  # of an id; a million runs of one name leave one draw in thirty taken
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Runs:
    """Verbs about runs; each raises NotFoundError for a run outside the caller's project."""

    settings: Settings
    database: Database
    backend: Backend
    clock: Callable[[], float]
    news: threading.Event

    def submit(self, caller: Caller, asked: wire.Submission, key: str | None = None) -> wire.RunDetail:
        """A run of a spec, recorded in one transaction; its `continued` says whether it was there before.

        The same idempotency key gives the same run, also where what the spec names is gone since;
        `asked.go_on` gives an unfinished run of the same spec.

        Raises:
            SpecError: with every fault of the spec, at its place.
            ConflictError: the key was used for another submission.
            StorageError: nothing could be kept of it, or a disk is full.
            QuotaError: the project takes as much of storage as it may.
        """
        try:
            loaded, base = self.taken(caller, asked)
            need_storage(self.settings.of(caller.project).storage)
        except (SpecError, StorageError):
            if key and (run := self.database.requested(caller.project, key, _fingerprint(asked))):
                return self._again(caller, run, asked)
            raise
        run, made = self._record(caller, loaded, base, asked, key)
        self.news.set()
        return told.fresh(run, self.settings) if made else self._again(caller, run, asked)

    def clone(
        self, caller: Caller, name: str, asked: wire.CloneAsked, key: str | None = None
    ) -> wire.RunDetail:
        """Submit a run's spec once more, with some fields changed. Raises as `submit` does."""
        caller.need(Role.SUBMITTER)
        return self.submit(caller, cloned(self.database.find_run(name, caller.project), asked), key)

    def taken(self, caller: Caller, asked: wire.Submission) -> tuple[Loaded, str]:
        """The spec of a submission as it would run, and the folder of its relative paths, if it has one.

        Raises:
            SpecError: with every fault of the spec, at its place.
        """
        caller.need(Role.SUBMITTER)
        named = partial(self._mapping, caller)
        loaded = parse_spec(asked.spec.encode(), Path(asked.file), asked.mappings, named)
        base = _base(caller, asked)
        loaded = with_uploads(loaded, asked.uploads)
        uploads = uploads_of(self.settings, caller.project)
        check_places(loaded, uploads, here=bool(base))
        check_reach(loaded, self.settings, operator=caller.operator)
        may_read, folder = partial(self._may_read, caller), Path(base) if base else None
        return check_submission(loaded, folder, self.settings.of(caller.project), may_read, uploads), base

    def page(
        self,
        caller: Caller,
        *,
        status: Sequence[Status] = (),
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> wire.RunPage:
        """Runs, newest first."""
        runs, after = self.database.page(caller.project, status=status, name=name, limit=limit, cursor=cursor)
        return wire.RunPage(items=[told.run(run, self.settings) for run in runs], cursor=after)

    def detail(self, caller: Caller, name: str) -> wire.RunDetail:
        """Everything about the run of that id, else the newest of that name."""
        return told.detail(self.database, self.database.find_run(name, caller.project), self.settings)

    def run(self, caller: Caller, name: str) -> wire.Run:
        """How that run stands."""
        return told.run(self.database.find_run(name, caller.project), self.settings)

    def want(self, caller: Caller, name: str, intent: Intent, keep: Keep = Keep.LAST) -> wire.Run:
        """Record what the user wants of a run; the controller acts on it. `keep` is for one to be cancelled.

        Raises:
            ConflictError: it has ended, or it is being cancelled and cannot go on.
        """
        caller.need(Role.SUBMITTER)
        run = self.database.find_run(name, caller.project)
        if run.status.final:
            raise ConflictError(f"{run.id} has ended: {run.status}", hint=f"`axo get {run.id}` shows it")
        if run.intent is Intent.CANCEL and intent is not Intent.CANCEL:
            raise ConflictError(f"{run.id} is being cancelled", hint=f"`axo clone {run.id}` makes another")
        self._set_intent(caller, run, intent, keep)
        return self.run(caller, run.id)

    def attempts(self, caller: Caller, name: str) -> list[wire.Attempt]:
        """The attempts of a run, oldest first."""
        run = self.database.find_run(name, caller.project)
        history = attempt_history(self.database, run.id, run_store(run))
        return [wire.Attempt(**asdict(attempt)) for attempt in history]

    def events(self, caller: Caller, name: str, after: int = 0, limit: int = 1000) -> list[wire.Event]:
        """The events of a run that came after the event of that id, oldest first."""
        run = self.database.find_run(name, caller.project)
        return [told.event(event) for event in self.database.events(run.id, after, limit)]

    def metrics(
        self,
        caller: Caller,
        name: str,
        keys: Sequence[str],
        most: int,
        first: int = 0,
        last: int | None = None,
    ) -> list[wire.Series]:
        """The points of metrics, all where no key is given, at steps `first` to `last`, thinned out to `most`
        each, and to `MAX_POINTS` together. Raises TooLargeError where there are more metrics than that."""
        run = self.database.find_run(name, caller.project)
        keys = list(dict.fromkeys(keys))
        found = self.database.series(run.id, keys, most, first, last, in_all=MAX_POINTS)
        return told.series(found, keys)

    def config(self, caller: Caller, name: str) -> str:
        """The Axolotl config of the newest launch that has one. Raises NotFoundError where none has."""
        run = self.database.find_run(name, caller.project)
        text = newest_config(run_store(run))
        if text is None:
            raise NotFoundError(f"{run.id} has no config yet: it is {run.status}")
        return text

    def logs(self, caller: Caller, name: str, seen: Mapping[str, int]) -> Iterator[wire.LogPart]:
        """What a run's attempts printed beyond the `seen` bytes of each launch's and attempt's text."""
        run = self.database.find_run(name, caller.project)
        return read_logs(self.database, self.backend, run, seen)

    def _again(self, caller: Caller, run: Run, asked: wire.Submission) -> wire.RunDetail:
        """The answer about a run that was there before; a paused one that is asked for goes on."""
        if run.intent is Intent.PAUSE and asked.go_on:
            self._set_intent(caller, run, Intent.RUN)
        return self.detail(caller, run.id).model_copy(update={"continued": True})

    def _record(
        self, caller: Caller, loaded: Loaded, base: str, asked: wire.Submission, key: str | None
    ) -> tuple[Run, bool]:
        """Record a submission, under another id where the drawn one is taken."""
        for _ in range(_DRAWS):
            with suppress(TakenError):
                fresh = self._fresh(caller, loaded, base, asked)
                return self.database.by(caller.change("run.submit", fresh.id, fresh.created)).submit(
                    fresh,
                    key=key,
                    fingerprint=_fingerprint(asked),
                    go_on=asked.go_on,
                    check=partial(need_room, self.settings, caller.project),
                )
        raise TakenError(f"no id is left for a run named {loaded.spec.name}", hint="take another name")

    def _set_intent(self, caller: Caller, run: Run, intent: Intent, keep: Keep = Keep.LAST) -> None:
        now = self.clock()
        change = caller.change(_ACTIONS[intent], run.id, now)
        self.database.by(change).set_intent(run.id, intent, now, keep if intent is Intent.CANCEL else None)
        self.news.set()

    def _may_read(self, caller: Caller, run: str) -> bool:
        """Whether a run is of the caller's project; what only storage knows is for those who hold storage."""
        project = self.database.project_of(run)
        return caller.local if project is None else project == caller.project

    def _mapping(self, caller: Caller, name: str) -> str:
        return self.database.mapping(caller.project, name).text

    def _fresh(self, caller: Caller, loaded: Loaded, base: str, asked: wire.Submission) -> Run:
        now = self.clock()
        return Run(
            id=f"{loaded.spec.name}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}",
            project=caller.project,
            owner=caller.name,
            name=loaded.spec.name,
            spec_digest=loaded.digest,
            spec=loaded.spec.model_dump(mode="json"),
            spec_text=loaded.text,
            base=base,
            mappings=mappings_beside(loaded),
            uploads=asked.uploads,
            storage=self.settings.of(caller.project).storage,
            temporary=loaded.spec.temporary,
            status=Status.QUEUED,
            created=now,
            updated=now,
            look=now,
            tell=now,
        )


def _base(caller: Caller, asked: wire.Submission) -> str:
    """The folder that the spec's relative paths start from.

    Raises:
        SpecError: a folder of the service's machine is named by somebody who is not on it.
    """
    if asked.base is None:
        return ""
    if not caller.local:
        raise SpecError([Fault("only a service on this very machine can be given a folder", path="base")])
    return asked.base


def _fingerprint(asked: wire.Submission) -> str:
    """What makes two submissions the same."""
    return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()
