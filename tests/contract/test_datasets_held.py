"""Prepared datasets: who holds one, when its files may go, and what a run does that counted on them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from orchestrator.db import Database, Run, connected, opened
from orchestrator.db import tables as t
from orchestrator.db.migrate import upgrade
from orchestrator.db.usage import stored_by
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runs import Status

DIGEST, STORAGE = "d" * 64, "file:///s"
FACTS = {"dataset": DIGEST, "dataset_facts": {"rows": 3, "tokens": 20}}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as database:
        yield database


def begun(database: Database, name: str, project: str = "ours", at: float = 100.0) -> Run:
    """A run whose prepare launch began then."""
    run = Run(name, "triage", "d", {}, "", "", STORAGE, Status.QUEUED, at, at, project=project)
    database.submit(run)
    database.add_launch(name, "prepare", None, at)
    return run


def prepared(database: Database, name: str, project: str = "ours", at: float = 100.0) -> Run:
    taken = database.take_dataset(begun(database, name, project, at), FACTS, 1)
    assert taken is not None
    return taken


def end(database: Database, run: Run) -> None:
    database.move(run, Status.CANCELLED, None, "", 500.0)


def remove(database: Database, now: float) -> None:
    [noted] = database.removals()
    assert (noted.storage, noted.folder) == (STORAGE, f"datasets/{DIGEST}")
    database.removed(noted, now)


def test_one_that_runs_use_is_refused_by_their_names_and_goes_after_their_end(database: Database) -> None:
    runs = [prepared(database, name, at=at) for at, name in enumerate(("a", "b", "c", "d", "e"), 100)]
    for refused in ("a, b, c and 2 more use it", "e uses it"):
        with pytest.raises(ConflictError) as caught:
            database.delete_dataset("ours", DIGEST, 400.0)
        assert str(caught.value) == refused
        for run in runs[:-1]:
            end(database, run)
        runs = runs[-1:]
    assert database.removals() == []
    end(database, database.run("e"))
    database.delete_dataset("ours", DIGEST, 600.0)
    assert database.datasets("ours", 9) == []
    with pytest.raises(NotFoundError):
        database.delete_dataset("ours", DIGEST, 601.0)
    remove(database, 602.0)


def test_files_go_with_the_last_project_that_holds_them(database: Database) -> None:
    end(database, prepared(database, "a"))
    theirs = prepared(database, "b", "theirs")
    with pytest.raises(NotFoundError):
        database.delete_dataset("strangers", DIGEST, 400.0)
    database.delete_dataset("ours", DIGEST, 400.0)
    assert (database.datasets("ours", 9), database.removals()) == ([], [])
    assert database.dataset("theirs", DIGEST).facts == FACTS["dataset_facts"]
    end(database, theirs)
    database.delete_dataset("theirs", DIGEST, 600.0)
    remove(database, 601.0)


def test_a_run_that_nobody_had_seen_use_it_prepares_it_again(database: Database) -> None:
    """It had found the files there and not written them; they were deleted before it said so."""
    end(database, prepared(database, "a"))
    late = begun(database, "late", at=300.0)
    database.delete_dataset("ours", DIGEST, 400.0)
    with pytest.raises(ConflictError, match="is being removed"):
        database.take_dataset(late, FACTS, 1)
    database.add_launch("late", "prepare", None, 410.0)  # its files may be among those that go
    remove(database, 420.0)
    assert database.take_dataset(late, FACTS, 1) is None
    assert database.take_dataset(late, FACTS, 2) is None
    assert "dataset" not in database.run("late").facts
    database.add_launch("late", "prepare", None, 430.0)
    taken = database.take_dataset(late, FACTS, 3)
    assert taken == database.run("late")
    assert [each.digest for each in database.datasets("ours", 9)] == [DIGEST]


def test_it_is_either_used_or_deleted_however_close_these_come(database: Database) -> None:
    for turn in range(10):
        end(database, prepared(database, f"old{turn}", at=turn * 10.0))
        new = begun(database, f"new{turn}", at=turn * 10.0 + 1)
        with ThreadPoolExecutor(2) as pool:
            taking = pool.submit(database.take_dataset, new, FACTS, 1)
            deleting = pool.submit(database.delete_dataset, "ours", DIGEST, turn * 10.0 + 5)
        used, refused = taking.exception() is None and taking.result(), deleting.exception()
        assert bool(used) is isinstance(refused, ConflictError), (used, refused)
        if used:
            end(database, used)
            assert database.removals() == []
        else:
            remove(database, turn * 10.0 + 6)


def test_its_bytes_count_for_each_project_that_holds_it(database: Database) -> None:
    end(database, prepared(database, "a"))
    prepared(database, "b", "theirs")
    [first, _] = database.unmeasured_datasets(9)
    database.measured_dataset(first, 5 << 40)
    assert database.unmeasured_datasets(9) == []
    assert [stored(database, name) for name in ("ours", "theirs", "strangers")] == [5 << 40, 5 << 40, 0]
    database.delete_dataset("ours", DIGEST, 600.0)
    assert [stored(database, name) for name in ("ours", "theirs")] == [0, 5 << 40]


def stored(database: Database, project: str) -> int:
    with database.reading() as connection:
        return stored_by(connection, project)


def test_a_database_of_the_release_before_holds_what_its_runs_used(empty: str) -> None:
    with connected(empty) as old:
        upgrade(old, "0018")
        for name, at in (("a", 100.0), ("b", 200.0)):
            run = Run(name, "triage", "d", {}, "", "", STORAGE, Status.FAILED, at, at, facts=FACTS)
            with old.engine.begin() as connection:
                connection.execute(t.runs.insert().values(vars(run)))
        upgrade(old)
    with opened(empty) as database:
        [found] = database.datasets("default", 9)
        assert (found.digest, found.created, found.used) == (DIGEST, 100.0, 200.0)
        assert (found.facts["rows"], found.storage, found.size) == (3, STORAGE, None)
        with database.reading() as connection:
            assert connection.scalar(sa.select(t.datasets.c.deleted)) is None


def test_a_nul_in_what_training_code_says_bars_nobody_from_anything(database: Database) -> None:
    said = {"adapter": {"license\0": "MIT\0"}}
    run, other = prepared(database, "a"), prepared(database, "b", "theirs", 101.0)
    database.add_facts(run, said)
    database.submit(replace(run, id="c", spec={"adapter": {"note": "\0"}}, base="/\0data", facts=said))
    assert [(listed.id, listed.dataset) for listed in database.page("ours")[0]] == [
        ("c", None),
        ("a", DIGEST),
    ]
    assert database.waiting_for_uploads("ours") == {"c": []}
    for each in (other, run):
        end(database, each)
        database.delete_dataset(each.project, DIGEST, 500.0)
        database.delete_run(replace(each, spec={"base_model": "org/base"}), 500.0)
    kept = database.run("c")
    assert (kept.facts, kept.base) == ({"adapter": {"license": "MIT"}}, "/data")
