"""What projects take of storage, and which runs are to be measured next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.db import Database, File, Run, opened
from orchestrator.db.usage import stored_by
from orchestrator.errors import ConflictError, NotFoundError, QuotaError
from orchestrator.runs import Status


def a_run(name: str, project: str = "default") -> Run:
    return Run(name, name, "d", {}, "", "", "file:///s", Status.QUEUED, 1.0, 1.0, project=project)


def stored(database: Database, project: str) -> int:
    with database.reading() as connection:
        return stored_by(connection, project)


def a_file(letter: str, size: int) -> File:
    return File("default", letter * 64, size, "me", 1.0, 1.0)


def test_a_project_takes_what_its_runs_and_uploads_do(database: Database) -> None:
    assert stored(database, "default") == 0
    for run in (a_run("a"), a_run("b"), a_run("c", "theirs")):
        database.submit(run)
        database.measured(run.id, 5 << 40, 9.0)
    database.begin_file(a_file("a", 7), quota=100)
    assert stored(database, "default") == (10 << 40) + 7
    assert stored(database, "theirs") == 5 << 40


def test_those_never_measured_come_first_and_ended_ones_once(database: Database) -> None:
    for name in ("old", "new", "done"):
        database.submit(a_run(name))
    database.measured("old", 1, 50.0)
    database.measured("done", 1, 50.0)
    done = database.move(a_run("done"), Status.FAILED, None, "", 60.0)
    assert [run.id for run in database.to_measure(40.0, 9)] == ["new", "done"]
    assert database.to_measure(51.0, 9)[0].id == "new"
    assert {run.id for run in database.to_measure(51.0, 9)} == {"new", "old", "done"}
    database.measured(done.id, 1, 61.0)
    database.measured("new", 1, 61.0)
    assert [run.id for run in database.to_measure(60.0, 9)] == ["old"]


def test_room_is_asked_for_over_the_connection_that_wants_it(url: str) -> None:
    asked: list[int] = []
    with opened(url, connections=1) as database:
        database.submit(a_run("a"), check=lambda stored: asked.append(stored()))
        database.begin_file(a_file("a", 7), 100, lambda stored: asked.append(stored()))
    assert asked == [0, 0]


def test_files_that_many_announce_at_once_are_one_each_within_the_quota(database: Database) -> None:
    same = [a_file("a", 40)] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: database.begin_file(file, 100), same))
    assert set(found) == set(same)

    def announced(letter: str) -> bool:
        try:
            return database.begin_file(a_file(letter, 40), 100) is not None
        except QuotaError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(announced, "bcdefghi")) == 1
    assert stored(database, "default") == 80


def test_only_a_file_that_is_abandoned_still_is_forgotten(database: Database) -> None:
    for letter in "abc":
        database.begin_file(a_file(letter, 40), 200)
    found = database.abandoned_files("default", 5.0)
    database.use_file("default", "a" * 64, 6.0)
    database.finish_file("default", "b" * 64, 6.0)
    for file in found:
        database.forget_abandoned(file, 5.0, "file:///s", 7.0)
        database.forget_abandoned(file, 5.0, "file:///s", 8.0)
    assert {file.sha256[0] for file in database.files("default")} == {"a", "b"}
    assert stored(database, "default") == 80
    (noted,) = database.removals()
    assert (noted.storage, noted.folder, noted.time) == ("file:///s", f"uploads/default/{'c' * 64}", 7.0)
    with pytest.raises(NotFoundError):
        database.use_file("default", "c" * 64, 9.0)
    with pytest.raises(ConflictError, match="is being removed"):
        database.begin_file(a_file("c", 40), 200)
    database.removed(noted, 9.0)
    assert database.begin_file(a_file("c", 40), 200) == a_file("c", 40)
