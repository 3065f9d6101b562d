"""Each kind of database keeps the mappings of a project by their names, and shows them to no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.db import Change, Database, NamedMapping
from orchestrator.errors import NotFoundError

TICKETS = NamedMapping("ours", "tickets", "conversation: {column: ä}\n", "a" * 64, 100.0)


def test_a_mapping_comes_back_as_it_was_kept_last(database: Database) -> None:
    database.put_mapping(TICKETS)
    theirs = replace(TICKETS, project="theirs", text="text: x\n")
    database.put_mapping(theirs)
    changed = replace(TICKETS, text="text: y\n", sha256="b" * 64, updated=200.0)
    database.put_mapping(changed)
    assert database.mapping("ours", "tickets") == changed
    assert database.mapping("theirs", "tickets") == theirs
    database.delete_mapping("ours", "tickets")
    assert (database.mappings("ours", 10), database.mappings("theirs", 10)) == ([], [theirs])


def test_pages_follow_the_names(database: Database) -> None:
    kept = [replace(TICKETS, name=name) for name in ("chats", "mails", "tickets")]
    for mapping in reversed(kept):
        database.put_mapping(mapping)
    database.put_mapping(replace(TICKETS, name="notes", project="theirs"))
    assert database.mappings("ours", 10) == kept
    assert database.mappings("ours", 2) == kept[:2]
    assert database.mappings("ours", 2, after="mails") == kept[2:]


def test_a_name_that_is_not_there_tells_a_close_one_of_the_same_project(database: Database) -> None:
    database.put_mapping(TICKETS)
    change = Change(1.0, "me", "ours", "mapping.delete", "tickts", "r")
    for act in (database.mapping, database.by(change).delete_mapping):
        with pytest.raises(NotFoundError, match="no mapping 'tickts'") as caught:
            act("ours", "tickts")
        assert caught.value.hint == "did you mean 'tickets'? `axo mappings` lists them"
        with pytest.raises(NotFoundError) as caught:
            act("theirs", "tickets")
        assert caught.value.hint == "`axo mappings` lists them"
    assert database.changes() == [], "what was not there was not deleted"
