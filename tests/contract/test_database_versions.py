"""A database made by another release, and one as a file: refused in words, or brought over whole."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import ModuleType

import psycopg
import pytest
import sqlalchemy as sa
import zstandard
from alembic import command

from orchestrator.db import (
    Attempt,
    Database,
    NamedMapping,
    Point,
    Publication,
    Run,
    backup,
    connected,
    open_database,
    opened,
)
from orchestrator.db import tables as t
from orchestrator.db.backup import back_up, restore
from orchestrator.db.migrate import HEAD, VERSIONS, upgrade, version
from orchestrator.errors import ConflictError, OrchestratorError, SettingsError, StorageError
from orchestrator.reasons import Reason
from orchestrator.runs import Status

RUN = Run(
    id="triage-abcde",
    name="triage",
    spec_digest="d" * 64,
    spec={"name": "triage", "rate": 2e-4, "many": [1, None, "ä"]},
    spec_text="name: triage\n",
    base="/data",
    storage="file:///s",
    status=Status.QUEUED,
    created=100.1,
    updated=100.1,
    look=100.1,
)


def test_the_versions_follow_each_other() -> None:
    assert [f"{number:04}" for number in range(1, len(VERSIONS) + 1)] == VERSIONS


def test_many_that_open_an_empty_database_at_once_make_it_once(empty: str) -> None:
    def open_and_close(_: int) -> None:
        open_database(empty).close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_and_close, range(6)))
    with connected(empty) as database, database.reading() as connection:
        assert version(connection) == HEAD


def test_many_that_connect_to_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    """SQLite waits for nobody while it changes a file's journal: a fifth of the files used to fail."""
    gate = Barrier(6)

    def connect(url: str) -> None:
        with connected(url) as database:
            gate.wait(10)
            with database.reading() as connection:
                assert version(connection) is None

    with ThreadPoolExecutor(6) as pool:
        for number in range(40):
            list(pool.map(connect, [f"sqlite:///{tmp_path}/{number}.db"] * 6))


def test_a_database_of_the_first_release_keeps_its_runs(empty: str) -> None:
    with connected(empty) as database:
        assert upgrade(database, "0001") == (None, "0001")
        with database.writing() as connection:
            connection.execute(sa.text(FIRST_RUN))
            connection.execute(sa.text(FIRST_POINT))
        if empty.startswith("postgresql"):
            with pytest.raises(SettingsError, match=f"0001, this axo needs {HEAD}") as refused:
                open_database(empty)
            assert "axo admin migrate" in (refused.value.hint or "")
            assert upgrade(database) == ("0001", HEAD)
        assert upgrade(database) in {("0001", HEAD), (HEAD, HEAD)}
        assert upgrade(database) == (HEAD, HEAD)
    with opened(empty) as database:
        run = database.run("old-abcde")
        assert (run.project, run.step, run.loss, run.look) == ("default", 3, 1.5, 0.0)


def test_nuls_that_an_earlier_release_kept_are_taken_out(empty: str) -> None:
    """PostgreSQL reads no field of a JSON value that has one: the page of its project was an error."""
    with connected(empty) as database:
        upgrade(database, "0020")
        with database.writing() as connection:
            connection.execute(sa.text(FIRST_RUN))
            with_nul = {"facts": r'{"dataset": "d", "said\u0000": ["\\u0000", "a\u0000b"]}'}
            connection.execute(sa.text("UPDATE runs SET facts = :facts"), with_nul)
        upgrade(database)
    with opened(empty) as database:
        assert database.run("old-abcde").facts == {"dataset": "d", "said": [r"\u0000", "ab"]}
        assert [run.dataset for run in database.page("default")[0]] == ["d"]


def test_a_newer_schema_is_refused_until_it_says_that_this_code_may_work_with_it(url: str) -> None:
    with opened(url) as database:
        set_version(database, "9999", oldest="9998")
    for act in (open_database, migrate):
        with pytest.raises(SettingsError, match=f"9999, made by a newer axo; this one knows up to {HEAD}"):
            act(url)
    with connected(url) as database:
        set_version(database, "9999", oldest=HEAD)
    with opened(url) as database:
        assert database.submit(RUN) == (RUN, True)


def test_a_backup_holds_everything_and_goes_into_either_database(
    database: Database, tmp_path: Path, make_empty: Callable[[str], str]
) -> None:
    fill(database)
    file = tmp_path / "all.axo"
    rows = back_up(database, file)
    assert (rows["runs"], rows["points"], rows["events"], rows["mappings"]) == (2, 2500, 3, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for kind in ("sqlite", "postgresql"):
        with connected(make_empty(kind)) as other:
            assert restore(other, file) == rows
            assert everything(other) == everything(database)
            ended = other.move(other.run("triage-abcde"), Status.FAILED, Reason.LOST, "", 200.0)
            assert [event.id for event in other.events(ended.id)][-1] == 4, "ids go on after the highest"
            with pytest.raises(ConflictError, match="has something in it"):
                restore(other, file)
    with pytest.raises(ConflictError, match="there already"):
        back_up(database, file)


def test_a_backup_of_an_older_release_is_brought_up_to_date(
    empty: str, tmp_path: Path, make_empty: Callable[[str], str]
) -> None:
    with connected(empty) as old:
        upgrade(old, "0001")
        with old.writing() as connection:
            connection.execute(sa.text(FIRST_RUN))
            connection.execute(sa.text(FIRST_POINT))
        back_up(old, tmp_path / "old.axo")
    with connected(make_empty("sqlite")) as new:
        restore(new, tmp_path / "old.axo")
        assert new.run("old-abcde").loss == 1.5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "is not whole"),
        (lambda lines: [*lines[:3], *lines[4:]], "is not whole"),
        (lambda lines: lines[1:], "is no backup"),
        (lambda lines: [], "is no backup"),
        (lambda lines: [lines[0].replace(HEAD, "9999"), *lines[1:]], "of schema 9999"),
        (lambda lines: ["{", *lines], "cannot be read"),
    ],
)
def test_a_file_that_is_not_whole_leaves_the_database_as_it_was(
    database: Database,
    tmp_path: Path,
    make_empty: Callable[[str], str],
    change: Callable[[list[str]], list[str]],
    told: str,
) -> None:
    fill(database)
    back_up(database, tmp_path / "all.axo")
    with zstandard.open(tmp_path / "all.axo", "rt", encoding="utf-8") as file:
        lines = change(file.read().splitlines())
    with zstandard.open(tmp_path / "cut.axo", "wt", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
    with connected(make_empty(database.engine.dialect.name)) as other:
        with pytest.raises(StorageError, match=told):
            restore(other, tmp_path / "cut.axo")
        with other.reading() as connection:
            assert sa.inspect(connection).get_table_names() == []


@pytest.mark.parametrize("url", ["mysql://root:hunter2@h/d", "nonsense hunter2", "sqlite://", "sqlite:///"])
def test_other_urls_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        open_database(url)
    assert "postgresql://" in (refused.value.hint or "")
    assert "hunter2" not in str(refused.value)


def test_a_database_that_is_away_is_told_without_its_address(tmp_path: Path) -> None:
    with pytest.raises(OrchestratorError) as away:
        open_database(f"postgresql://me:hunter2@/axo?host={tmp_path}")
    assert (str(away.value), away.value.exit_code) == ("the database cannot be reached", 4)


def test_a_slow_disk_and_slow_imports_end_no_transaction_of_postgresql(
    make_empty: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which ends one that rests between its statements for longer than any that has work to do would."""
    slow_down(monkeypatch, command, "upgrade")
    slow_down(monkeypatch, backup, "_say")
    with connected(make_empty("postgresql")) as database, connected(make_empty("postgresql")) as other:
        for each in (database, other):
            sa.event.listen(each.engine, "connect", shorten_patience)
            each.engine.dispose()
        assert upgrade(database) == (None, HEAD)
        database.submit(RUN)
        rows = back_up(database, tmp_path / "all.axo")
        slow_down(monkeypatch, command, "upgrade")
        assert restore(other, tmp_path / "all.axo") == rows
        assert everything(other) == everything(database)


FIRST_RUN = """
INSERT INTO runs (id, name, spec_digest, spec, spec_text, base, storage, status, message, intent, created,
                  updated, lost_steps, facts)
VALUES ('old-abcde', 'old', 'd', '{}', '', '/', 'file:///s', 'training', '', 'run', 1, 1, 0, '{}')
"""
FIRST_POINT = """
INSERT INTO points (run, key, step, value, time, attempt, shipped)
VALUES ('old-abcde', 'loss', 3, 1.5, 2, 1, FALSE)
"""


def slow_down(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """Have a function take longer once than PostgreSQL waits."""
    act, pauses = getattr(module, name), iter([0.9])

    def slow(*arguments: object) -> None:
        time.sleep(next(pauses, 0.0))
        act(*arguments)

    monkeypatch.setattr(module, name, slow)


def shorten_patience(connection: psycopg.Connection, _: object) -> None:
    """5 s are too long for a test."""
    connection.execute("SET idle_in_transaction_session_timeout = '600ms'")
    connection.commit()


def migrate(url: str) -> None:
    with connected(url) as database:
        upgrade(database)


def set_version(database: Database, number: str, oldest: str) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :n"), {"n": number})
        connection.execute(t.schema.update().values(oldest=oldest))


def fill(database: Database) -> None:
    database.submit(RUN, key="k", fingerprint="f")
    database.submit(replace(RUN, id="other-abcde", name="other", project="theirs"))
    database.move(database.run("triage-abcde"), Status.TRAINING, None, "it goes", 120.0)
    database.add_launch("triage-abcde", "train", 4, 110.0)
    points = [Point("loss", step, 1 / (step + 1), 120.0 + step) for step in range(2500)]
    database.take_in("triage-abcde", Attempt(1, 1), Attempt(1, 1, 1 << 40, 110.0, checkpoint=7), points)
    database.add_publication("triage-abcde", Publication(0, "mlflow", "models:/x/1", "1", "u", "d", 5.0))
    database.put_mapping(NamedMapping("ours", "tickets", "text: ä\n", "d" * 64, 5.0))
    database.hold_lease("controller", "me", 5.0)


def everything(database: Database) -> object:
    with database.reading() as connection:
        return {
            table.name: connection.execute(sa.select(table).order_by(*table.primary_key)).all()
            for table in t.metadata.sorted_tables
        }
