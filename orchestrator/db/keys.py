"""API keys: their digests, what they allow, and when they were used."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Key
from orchestrator.errors import NotFoundError

_KEY = sa.select(t.keys).where(t.keys.c.id == sa.bindparam("name"))  # made once: every request asks
USED_SECONDS = 300.0  # how exactly it is known when a key was used: a request seldom writes


class Keys(Transactions):
    """Keys. None is ever deleted, so that what was done with it keeps its name."""

    def add_key(self, key: Key) -> None:
        with self.writing() as connection:
            connection.execute(t.keys.insert().values(dataclasses.asdict(key)))

    def key(self, name: str) -> Key | None:
        """The key of that id."""
        with self.reading() as connection:
            row = connection.execute(_KEY, {"name": name}).one_or_none()
        return Key(**row._mapping) if row else None

    def keys(self, project: str | None = None) -> list[Key]:
        """The keys of a project, or of all, newest first."""
        query = sa.select(t.keys).order_by(t.keys.c.created.desc(), t.keys.c.id)
        if project is not None:
            query = query.where(t.keys.c.project == project)
        with self.reading() as connection:
            return [Key(**row._mapping) for row in connection.execute(query)]

    def any_key(self) -> bool:
        """Whether there has ever been a key."""
        with self.reading() as connection:
            return bool(connection.scalar(sa.select(sa.exists(sa.select(t.keys.c.id)))))

    def revoke_key(self, name: str, now: float, project: str | None = None) -> Key:
        """Let a key be worth nothing from now on; the time of the first revoking stays.

        Raises:
            NotFoundError: there is no such key, in the project where one is given.
        """
        mine = [t.keys.c.id == name, *([] if project is None else [t.keys.c.project == project])]
        with self.writing() as connection:
            connection.execute(t.keys.update().where(*mine, t.keys.c.revoked.is_(None)).values(revoked=now))
            row = connection.execute(sa.select(t.keys).where(*mine)).one_or_none()
            if row is None:
                raise NotFoundError(
                    f"there is no key {name!r}", hint="a key goes by its id, as lists show it"
                )
        return Key(**row._mapping)

    def note_key_used(self, key: Key, now: float) -> None:
        """Remember that a key was used, unless that was written `USED_SECONDS` ago or less."""
        if key.used is not None and now - key.used <= USED_SECONDS:
            return
        with self.writing() as connection:
            connection.execute(t.keys.update().where(t.keys.c.id == key.id).values(used=now))
