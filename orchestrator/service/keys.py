"""The verbs about API keys, for the admins of a project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator import db, wire
from orchestrator.access.keys import key_digest, make_key
from orchestrator.service.caller import Caller, Role

_DAY = 86_400.0


@dataclass(frozen=True)
class Keys:
    """Verbs about keys; an admin sees those of their project alone."""

    database: db.Database
    clock: Callable[[], float]

    def create(self, caller: Caller, asked: wire.KeyAsked) -> wire.FreshKey:
        """A key for the caller's project; the only time that its text is told."""
        caller.need(Role.ADMIN)
        fresh, now = make_key(), self.clock()
        key = db.Key(
            id=fresh.id,
            project=caller.project,
            name=asked.name,
            role=asked.role,
            digest=key_digest(fresh.text),
            created=now,
            creator=caller.name,
            expires=now + asked.days * _DAY,
        )
        self.database.by(caller.change("key.create", key.id, now)).add_key(key)
        return wire.FreshKey(**told(key).model_dump(), key=fresh.text)

    def list(self, caller: Caller) -> list[wire.Key]:
        """The project's keys, revoked ones too, newest first."""
        caller.need(Role.ADMIN)
        return [told(key) for key in self.database.keys(caller.project)]

    def revoke(self, caller: Caller, name: str) -> wire.Key:
        """Let a key be refused from the next request on. Raises NotFoundError outside the project."""
        caller.need(Role.ADMIN)
        now = self.clock()
        database = self.database.by(caller.change("key.revoke", name, now))
        return told(database.revoke_key(name, now, caller.project))


def told(key: db.Key) -> wire.Key:
    """A key as it is told: all but its digest."""
    return wire.Key.model_validate({name: getattr(key, name) for name in wire.Key.model_fields})
