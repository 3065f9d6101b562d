"""The text of an API key, and what the database and the verbs make of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import wire
from orchestrator.access.keys import key_digest, key_id, make_key
from orchestrator.db import Database, opened
from orchestrator.db.keys import USED_SECONDS
from orchestrator.errors import AuthError, ForbiddenError, NotFoundError
from orchestrator.service import Access, Caller, Role
from orchestrator.service.keys import Keys

ADMIN = Caller("triage", Role.ADMIN, "ops")
DAY = 86_400.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        yield database


def make(database: Database, caller: Caller = ADMIN, role: wire.RoleName = "submitter") -> wire.FreshKey:
    return Keys(database, lambda: 1_000.0).create(caller, wire.KeyAsked(name="ci", role=role, days=1))


def whose(database: Database, key: str | None, now: float = 2_000.0) -> Caller:
    return Access(database, lambda: now).caller(key)


def test_a_key_is_known_by_its_form_and_checksum() -> None:
    fresh = make_key()
    assert key_id(fresh.text) == fresh.id
    assert len({make_key().text for _ in range(1000)}) == 1000
    for at in range(len(fresh.text)):
        other = "x" if fresh.text[at] != "x" else "y"
        assert key_id(fresh.text[:at] + other + fresh.text[at + 1 :]) is None
    assert key_id(fresh.text + "x") is key_id("") is key_id("nothing") is key_id(fresh.text + "\n") is None


def test_a_key_is_its_project_role_and_name(database: Database) -> None:
    fresh = make(database)
    caller = whose(database, fresh.key)
    assert caller == Caller("triage", Role.SUBMITTER, f"ci/{fresh.id}", local=False)


def test_nothing_of_the_database_is_a_key(database: Database, tmp_path: Path) -> None:
    fresh = make(database)
    with database.writing() as connection:
        connection.exec_driver_sql("SELECT 1")
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("axo.db*"))
    assert fresh.id.encode() in kept
    assert fresh.key.encode() not in kept
    assert fresh.key.rpartition("_")[2].encode() not in kept
    for text in (key_digest(fresh.key), fresh.id, f"axo_{fresh.id}_"):
        with pytest.raises(AuthError):
            whose(database, text)


def test_a_key_of_right_form_that_was_never_made_is_refused(database: Database) -> None:
    made, other = make(database), make_key()
    swapped = other.text.replace(other.id, made.id)
    for text in (other.text, swapped):
        with pytest.raises(AuthError, match="not known"):
            whose(database, text)


def test_a_key_is_over_when_it_expires_and_when_it_is_revoked(database: Database) -> None:
    fresh = make(database)
    assert whose(database, fresh.key, 1_000.0 + DAY - 1)
    with pytest.raises(AuthError):
        whose(database, fresh.key, 1_000.0 + DAY)
    Keys(database, lambda: 1_500.0).revoke(ADMIN, fresh.id)
    with pytest.raises(AuthError):
        whose(database, fresh.key)
    assert Keys(database, lambda: 1_600.0).revoke(ADMIN, fresh.id).revoked == 1_500.0


def test_use_is_written_seldom(database: Database) -> None:
    fresh = make(database)
    for now, used in ((2_000.0, 2_000.0), (2_000.0 + USED_SECONDS, 2_000.0), (2_301.0, 2_301.0)):
        whose(database, fresh.key, now)
        assert database.keys()[0].used == used


def test_an_admin_rules_the_keys_of_one_project(database: Database) -> None:
    theirs = make(database, dataclasses.replace(ADMIN, project="theirs"))
    verbs = Keys(database, lambda: 1_000.0)
    assert verbs.list(ADMIN) == []
    with pytest.raises(NotFoundError):
        verbs.revoke(ADMIN, theirs.id)
    assert whose(database, theirs.key).project == "theirs"
    for role in (Role.VIEWER, Role.SUBMITTER):
        lesser = dataclasses.replace(ADMIN, role=role)
        for ask in (verbs.list, lambda caller: verbs.revoke(caller, "x"), lambda c: make(database, c)):
            with pytest.raises(ForbiddenError):
                ask(lesser)


def test_anybody_is_let_in_only_before_the_first_key(database: Database) -> None:
    access = Access(database, lambda: 2_000.0, anonymous=Caller())
    assert access.caller(None) == Caller()
    with pytest.raises(AuthError):
        access.caller("nothing")
    fresh = make(database)
    with pytest.raises(AuthError, match="wants to know who asks"):
        access.caller(None)
    Keys(database, lambda: 2_000.0).revoke(ADMIN, fresh.id)
    with pytest.raises(AuthError):
        access.caller(None)
