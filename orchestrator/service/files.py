"""The verbs about uploaded files: announce one, take its parts, prove it, delete it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from orchestrator import contract, db, uploads, wire
from orchestrator.contract import Store
from orchestrator.db import Database
from orchestrator.errors import ConflictError, Fault, SpecError, TooLargeError
from orchestrator.machines import GIB
from orchestrator.service.caller import Caller, Role
from orchestrator.service.storage import need_room
from orchestrator.settings import Settings

ABANDONED_SECONDS = 2 * 24 * 3600.0
USED_SECONDS = 3600.0  # how exactly it is known when a part came: a part seldom writes


@dataclass(frozen=True)
class Files:
    """Verbs about files of the caller's project; each raises NotFoundError for one not announced there."""

    settings: Settings
    database: Database
    clock: Callable[[], float]

    def begin(self, caller: Caller, asked: wire.FileAsked) -> wire.File:
        """Announce a file: what of it is there already. Others that were abandoned on their way are cleared.

        Raises:
            TooLargeError: no file may be that large.
            QuotaError: the project has no room for it.
            FullError: a disk of the service is nearly full.
            ConflictError: a file of that digest was announced with another size, or is being removed.
        """
        caller.need(Role.SUBMITTER)
        if asked.size > self.settings.max_file_bytes:
            most = self.settings.max_file_bytes / GIB
            raise TooLargeError(f"a file may have {most:g} GiB", hint="name data of that size by a URL")
        now = self.clock()
        self._clear(caller.project, asked.sha256, now)
        fresh = db.File(caller.project, asked.sha256, asked.size, caller.name, now, now)
        database = self.database.by(caller.change("file.announce", asked.sha256, now))
        room = partial(need_room, self.settings, caller.project, more=asked.size)
        file = database.begin_file(fresh, self.settings.max_project_bytes, room)
        if file.size != asked.size:
            raise ConflictError(f"{asked.sha256} was announced with {file.size} bytes, not {asked.size}")
        return self._told(file)

    def get(self, caller: Caller, sha256: str) -> wire.File:
        """What of a file is there."""
        return self._told(self.database.file(caller.project, sha256))

    def page(self, caller: Caller, limit: int) -> list[wire.File]:
        """The files of the project, those announced last first."""
        return [self._told(file) for file in self.database.files(caller.project, limit)]

    def put(self, caller: Caller, sha256: str, number: int, data: bytes) -> None:
        """Take a part; one that is there may come again.

        Raises:
            SpecError: there is no such part, or it has another size.
        """
        caller.need(Role.SUBMITTER)
        file = self._wanted(caller.project, sha256)
        sizes = uploads.part_sizes(file.size)
        if number >= len(sizes) or len(data) != sizes[number]:
            due = f"{sizes[number]} bytes" if number < len(sizes) else f"no part {number}"
            raise SpecError([Fault(f"of this file there is {due}, and {len(data)} came", path="part")])
        if file.finished is None:
            uploads.write_part(self._store(caller), sha256, number, data)

    def finish(self, caller: Caller, sha256: str) -> wire.File:
        """Prove a file by its digest; from then on a spec may name it.

        Raises:
            ConflictError: parts are missing, or what came is not what was announced.
        """
        caller.need(Role.SUBMITTER)
        file = self._wanted(caller.project, sha256)
        store = self._store(caller)
        if file.finished is None:
            if missing := uploads.missing_parts(store, sha256, file.size):
                raise ConflictError(f"{len(missing)} parts are missing, {missing[0]} the first of them")
            if not uploads.commit(store, sha256, file.size):
                raise ConflictError(
                    "what came is not what was announced: its SHA-256 is another",
                    hint="did the file change while it was read? Upload it again",
                )
            now = self.clock()
            database = self.database.by(caller.change("file.finish", sha256, now))
            database.finish_file(caller.project, sha256, now)
        return self.get(caller, sha256)

    def delete(self, caller: Caller, sha256: str) -> None:
        """Delete a file.

        Raises:
            ConflictError: a run that has not prepared its data needs it.
        """
        caller.need(Role.SUBMITTER)
        file = self.database.file(caller.project, sha256)
        if user := self._user(caller.project, sha256):
            raise ConflictError(
                f"{user} has yet to read it", hint=f"wait until its data is prepared, or `axo cancel {user}`"
            )
        self._remove(file, self.database.by(caller.change("file.delete", sha256, self.clock())))

    def _wanted(self, project: str, sha256: str) -> db.File:
        """An announced file, which nobody takes for abandoned from now on."""
        file = self.database.file(project, sha256)
        if file.finished is None and (now := self.clock()) - file.used >= USED_SECONDS:
            self.database.use_file(project, sha256, now)
        return file

    def _clear(self, project: str, wanted: str, now: float) -> None:
        """Forget what was abandoned, but for one that is wanted again; the controller removes the parts."""
        before, storage = now - ABANDONED_SECONDS, self.settings.of(project).storage
        for file in self.database.abandoned_files(project, before):
            if file.sha256 != wanted:
                self.database.forget_abandoned(file, before, storage, now)

    def _user(self, project: str, sha256: str) -> str | None:
        """A run that has yet to read a file, by itself or within a bundle."""
        store = uploads_of(self.settings, project)
        for run, addresses in self.database.waiting_for_uploads(project).items():
            for upload in filter(None, map(uploads.parse_address, addresses)):
                if sha256 in (upload.sha256, *_files_of(store, upload)):
                    return run
        return None

    def _remove(self, file: db.File, database: Database) -> None:
        """Let it count as unfinished before its parts go: a death between leaves one to be sent again. That
        is the change which `database` records."""
        database.reopen_file(file.project, file.sha256)
        contract.remove_folder(uploads_of(self.settings, file.project), file.sha256)
        self.database.forget_file(file.project, file.sha256)

    def _told(self, file: db.File) -> wire.File:
        store = uploads_of(self.settings, file.project)
        missing = [] if file.finished else uploads.missing_parts(store, file.sha256, file.size)
        return wire.File(
            sha256=file.sha256,
            size=file.size,
            part_size=uploads.PART_BYTES,
            missing=missing,
            complete=file.finished is not None,
            created=file.created,
        )

    def _store(self, caller: Caller) -> Store:
        return uploads_of(self.settings, caller.project)


def _files_of(store: Store, upload: uploads.Upload) -> Collection[str]:
    """What a bundle lists; nothing where it is none, or is gone."""
    with suppress(contract.ContractError):
        return uploads.read_bundle(store, upload.sha256).values() if upload.bundle else ()
    return ()


def uploads_of(settings: Settings, project: str) -> Store:
    """The uploads of a project."""
    return contract.open_store(settings.of(project).storage).below(uploads.uploads_key(project))
