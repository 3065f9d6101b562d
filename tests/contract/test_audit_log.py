"""The audit log: what each database keeps of changes, and that nobody touches it unseen."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from orchestrator.db import Change, Database, Key, connected, opened
from orchestrator.db import tables as t
from orchestrator.db.migrate import upgrade
from orchestrator.errors import NotFoundError

ROWS = 5


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as database:
        yield database


@pytest.fixture
def log(database: Database) -> Database:
    for number in range(ROWS):
        add(database, f"key{number}")
    assert database.verify_changes().rows == ROWS
    return database


def change(subject: str, action: str = "key.create") -> Change:
    return Change(1_000.25, "ann/k7m2p9qx", "triage", action, subject, "request-1", "192.0.2.7")


def add(database: Database, name: str) -> None:
    key = Key(name, "triage", "ci", "viewer", "0" * 64, 1_000.0, "ann")
    database.by(change(name)).add_key(key)


def test_a_change_and_its_row_are_kept_together_or_not_at_all(database: Database) -> None:
    add(database, "one")
    with pytest.raises(sa.exc.IntegrityError):
        add(database, "one")
    with pytest.raises(NotFoundError):
        database.by(change("two", "key.revoke")).revoke_key("two", 2_000.0)
    database.revoke_key("one", 2_000.0)  # by nobody: the service itself
    assert [each.change for each in database.changes()] == [change("one")]
    assert database.verify_changes().rows == 1


def test_what_waits_is_put_into_the_chain_once_however_many_do_so(database: Database) -> None:
    for number in range(30):
        add(database, f"key{number}")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: database.chain_changes(), range(6)))
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.audit_waiting)) == 0
        subjects = list(connection.scalars(sa.select(t.audit.c.subject).order_by(t.audit.c.id)))
    assert subjects == [f"key{number}" for number in range(30)]
    assert database.verify_changes().rows == 30


def test_changes_are_found_by_project_subject_and_address_newest_first(log: Database) -> None:
    assert [each.change.subject for each in log.changes(limit=2)] == ["key4", "key3"]
    assert [each.id for each in log.changes(subject="key1")] == [2]
    assert log.changes(project="theirs") == []
    assert [each.id for each in log.changes(address="192.0.2.7", limit=1)] == [5]
    assert log.changes(address="192.0.2.8") == []


def test_a_changed_row_is_the_first_broken_one(log: Database) -> None:
    columns = [column.name for column in t.audit.columns if column.name != "id"]
    for number, column in itertools.product(range(1, ROWS + 1), columns):
        value = write(log, number, column, 7.0 if column == "time" else "f" * 64)
        proof = log.verify_changes()
        assert proof.rows == number - 1, column
        assert str(proof.broken).startswith(f"row {number} "), column
        write(log, number, column, value)
    assert log.verify_changes().broken is None


def write(log: Database, number: int, column: str, value: object) -> object:
    """Change a row as only somebody at the database can; what stood there."""
    with log.engine.begin() as connection:
        before = connection.scalar(sa.select(t.audit.c[column]).where(t.audit.c.id == number))
        connection.execute(t.audit.update().where(t.audit.c.id == number).values({column: value}))
    return before


# A log as the release before addresses were kept wrote it, with a change that waited when it was replaced.
OLD_ROWS = """\
INSERT INTO audit (id, time, actor, project, action, subject, request, previous, digest) VALUES
(1, 1000.25, 'ann/k7m2p9qx', 'triage', 'key.create', 'one', 'request-1', :start,
 'f7a348267a925e30f6f7f40dbcdbe8e92deb69e082ffeaeb3b0f72367e31e1b4'),
(2, 1001.5, 'bob', 'triage', 'run.cancel', 'triage-aaaaa', 'request-2',
 'f7a348267a925e30f6f7f40dbcdbe8e92deb69e082ffeaeb3b0f72367e31e1b4', :end)"""
OLD_WAITING = """\
INSERT INTO audit_waiting (time, actor, project, action, subject, request)
VALUES (1002.5, 'bob', 'triage', 'run.resume', 'triage-aaaaa', 'request-3')"""
OLD_END = "0675e07b90b93081dcdcaeb0c94dc802aeb191c027ade9a5ee4cd14617a8c0cc"


def test_a_log_that_has_no_addresses_is_true_and_goes_on_with_them(empty: str) -> None:
    with connected(empty) as old:
        upgrade(old, "0016")
        with old.engine.begin() as connection:
            connection.execute(sa.text(OLD_ROWS), {"start": "0" * 64, "end": OLD_END})
            connection.execute(sa.text(OLD_WAITING))
            connection.execute(t.audit_head.update().values(number=2, digest=OLD_END))
        upgrade(old)
    with opened(empty) as database:
        add(database, "new")
        proof = database.verify_changes(noted=OLD_END)
        assert (proof.rows, proof.broken) == (4, None)
        assert [each.change.address for each in database.changes()] == ["192.0.2.7", None, None, None]
        for number, value in ((2, "192.0.2.9"), (2, ""), (4, None)):
            before = write(database, number, "address", value)
            assert database.verify_changes().broken == f"row {number} is not what was written"
            write(database, number, "address", before)


@pytest.mark.parametrize("number", [1, 3, ROWS])
def test_a_row_taken_away_is_missed(log: Database, number: int) -> None:
    with log.engine.begin() as connection:
        connection.execute(t.audit.delete().where(t.audit.c.id == number))
    proof = log.verify_changes()
    assert proof.rows == number - 1
    last = "the head of the log tells of other rows after it"
    assert proof.broken == (last if number == ROWS else f"row {number} is missing")


def test_a_row_put_in_and_rows_changed_over_are_seen(log: Database) -> None:
    last = log.changes(limit=1)[0]
    with log.engine.begin() as connection:
        row = connection.execute(sa.select(t.audit).where(t.audit.c.id == ROWS)).mappings().one()
        connection.execute(t.audit.insert().values({**row, "id": ROWS + 1, "previous": last.digest}))
    assert log.verify_changes().rows == ROWS
    with log.engine.begin() as connection:
        for old, new in ((1, 100), (2, 1), (100, 2)):
            connection.execute(t.audit.update().where(t.audit.c.id == old).values(id=new))
    assert log.verify_changes().rows == 0


def test_a_chain_made_anew_does_not_have_the_digest_that_was_noted(log: Database) -> None:
    noted = log.verify_changes().digest
    add(log, "later")
    assert log.verify_changes(noted).broken is None
    with log.engine.begin() as connection:
        connection.execute(t.audit.delete())
        connection.execute(t.audit_head.update().values(number=0, digest="0" * 64))
        connection.execute(t.keys.delete())
    for number in range(1, ROWS):
        add(log, f"key{number}")
    assert log.verify_changes().broken is None
    assert log.verify_changes(noted).broken == "no row has the digest that was noted"


def test_many_writers_make_one_chain(database: Database) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            add(database, f"{writer}-{number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (database.verify_changes().rows, database.verify_changes().broken) == (80, None)
