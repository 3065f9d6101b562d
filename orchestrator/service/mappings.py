"""The verbs about the mappings that a project shares: specs name them, and runs keep what they said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator import db, wire
from orchestrator.db import Database
from orchestrator.service.caller import Caller, Role
from orchestrator.service.checks import check_mapping


@dataclass(frozen=True)
class Mappings:
    """Verbs about mappings of the caller's project; each raises NotFoundError for a name it has not."""

    database: Database
    clock: Callable[[], float]

    def page(self, caller: Caller, limit: int, cursor: str | None = None) -> wire.MappingPage:
        """The mappings by their names, from the one that follows `cursor` on."""
        found = self.database.mappings(caller.project, limit + 1, cursor)
        items = [wire.MappingListed(**asdict(mapping)) for mapping in found[:limit]]
        return wire.MappingPage(items=items, cursor=items[-1].name if len(found) > limit else None)

    def get(self, caller: Caller, name: str) -> wire.NamedMapping:
        """A mapping with its text."""
        return wire.NamedMapping(**asdict(self.database.mapping(caller.project, name)))

    def put(self, caller: Caller, name: str, asked: wire.MappingAsked) -> wire.MappingListed:
        """Keep a mapping, in the place of the one that has its name; runs there are stay as they are.

        Raises:
            SpecError: with every fault of the text, at its line.
        """
        caller.need(Role.SUBMITTER)
        data, now = asked.text.encode(), self.clock()
        check_mapping(data, Path(name))
        mapping = db.NamedMapping(caller.project, name, asked.text, hashlib.sha256(data).hexdigest(), now)
        self.database.by(caller.change("mapping.put", name, now)).put_mapping(mapping)
        return wire.MappingListed(**asdict(mapping))

    def delete(self, caller: Caller, name: str) -> None:
        """Delete a mapping; the runs that were submitted with it need it no more."""
        caller.need(Role.SUBMITTER)
        change = caller.change("mapping.delete", name, self.clock())
        self.database.by(change).delete_mapping(caller.project, name)
