"""What is remembered of uploaded files; their bytes lie in storage."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.deletions import note_removal
from orchestrator.db.engine import serialise
from orchestrator.db.rows import FINAL
from orchestrator.db.transactions import Transactions
from orchestrator.db.usage import Check, stored_by
from orchestrator.db.values import File
from orchestrator.errors import ConflictError, NotFoundError, QuotaError
from orchestrator.machines import GIB
from orchestrator.uploads import upload_key


class Files(Transactions):
    """Files that clients upload, by project and SHA-256."""

    def begin_file(self, file: File, quota: int, check: Check = lambda _: None) -> File:
        """Announce a file; the one that is there already, where there is one, else after `check`.

        Raises:
            QuotaError: the project's files would come to more than `quota` bytes.
            ConflictError: parts of one that was abandoned are being removed now.
        """
        with self.writing() as connection:
            serialise(connection, "files", file.project)
            row = connection.execute(_one(file.project, file.sha256)).mappings().one_or_none()
            if row is not None:
                connection.execute(_change(file.project, file.sha256).values(used=file.used))
                return File(**row)
            if connection.scalar(_being_removed(file.project, file.sha256)) is not None:
                raise ConflictError(f"{file.sha256[:12]} is being removed from storage", hint="a moment")
            check(partial(stored_by, connection, file.project))
            taken = int(connection.scalar(_taken(file.project)) or 0)
            if taken + file.size > quota:
                raise _full(taken, file.size, quota)
            connection.execute(t.files.insert().values(dataclasses.asdict(file)))
        return file

    def file(self, project: str, sha256: str) -> File:
        """Raises NotFoundError where no such file was announced."""
        with self.reading() as connection:
            row = connection.execute(_one(project, sha256)).mappings().one_or_none()
        if row is None:
            raise _unknown(sha256)
        return File(**row)

    def use_file(self, project: str, sha256: str, now: float) -> None:
        """Say that somebody wants a file. Raises NotFoundError where no such file is announced any more."""
        with self.writing() as connection:
            if connection.execute(_change(project, sha256).values(used=now)).rowcount == 0:
                raise _unknown(sha256)

    def finish_file(self, project: str, sha256: str, now: float) -> None:
        """Say that all of a file has arrived."""
        with self.writing() as connection:
            connection.execute(_change(project, sha256).values(finished=now))

    def reopen_file(self, project: str, sha256: str) -> None:
        """Say that a file is not all there, as one whose parts are about to be removed."""
        with self.writing() as connection:
            connection.execute(_change(project, sha256).values(finished=None))

    def waiting_for_uploads(self, project: str) -> dict[str, list[str]]:
        """The unfinished runs of a project whose data is not prepared, with the addresses they read."""
        query = sa.select(t.runs.c.id, t.runs.c.uploads).where(
            t.runs.c.project == project,
            t.runs.c.status.not_in(FINAL),
            t.runs.c.facts["dataset"].as_string().is_(None),
        )
        with self.reading() as connection:
            return {row.id: list(row.uploads.values()) for row in connection.execute(query)}

    def forget_file(self, project: str, sha256: str) -> None:
        """Forget a file."""
        gone = t.files.delete().where(t.files.c.project == project, t.files.c.sha256 == sha256)
        with self.writing() as connection:
            connection.execute(gone)

    def files(self, project: str, limit: int = 1000) -> list[File]:
        """The files of a project, those announced last first."""
        query = sa.select(t.files).where(t.files.c.project == project).order_by(t.files.c.created.desc())
        with self.reading() as connection:
            return [File(**row) for row in connection.execute(query.limit(limit)).mappings()]

    def abandoned_files(self, project: str, before: float) -> list[File]:
        """The files of a project that never arrived whole, and nobody asked for since that time."""
        query = sa.select(t.files).where(t.files.c.project == project, t.files.c.finished.is_(None))
        with self.reading() as connection:
            rows = connection.execute(query.where(t.files.c.used < before)).mappings()
            return [File(**row) for row in rows]

    def forget_abandoned(self, file: File, before: float, storage: str, now: float) -> None:
        """Forget a file and note that its parts are to go, unless it has arrived since, or somebody has asked
        for it: nobody can announce it, or send a part, until they are gone."""
        gone = t.files.delete().where(t.files.c.project == file.project, t.files.c.sha256 == file.sha256)
        gone = gone.where(t.files.c.finished.is_(None), t.files.c.used < before)
        with self.writing() as connection:
            serialise(connection, "files", file.project)
            if connection.execute(gone).rowcount:
                note_removal(connection, storage, upload_key(file.project, file.sha256), now)


def _one(project: str, sha256: str) -> sa.Select[tuple[object]]:
    return sa.select(t.files).where(t.files.c.project == project, t.files.c.sha256 == sha256)


def _being_removed(project: str, sha256: str) -> sa.Select[Any]:
    return sa.select(t.removals.c.id).where(t.removals.c.folder == upload_key(project, sha256)).limit(1)


def _change(project: str, sha256: str) -> sa.Update:
    return t.files.update().where(t.files.c.project == project, t.files.c.sha256 == sha256)


def _taken(project: str) -> sa.Select[Any]:
    return sa.select(sa.func.coalesce(sa.func.sum(t.files.c.size), 0)).where(t.files.c.project == project)


def _unknown(sha256: str) -> NotFoundError:
    return NotFoundError(f"there is no file {sha256}", hint="announce it: POST /api/v1/files")


def _full(taken: int, size: int, quota: int) -> QuotaError:
    return QuotaError(
        f"files of this project take {taken / GIB:.2f} of {quota / GIB:g} GiB, and this one {size / GIB:.2f}",
        hint="delete files that no run needs, or ask the operator for more (`uploads` in the settings)",
    )
