"""What projects take of storage, and which runs are to be measured next."""

from __future__ import annotations

from orchestrator.db import Database, File, Run
from orchestrator.runs import Status


def a_run(name: str, project: str = "default") -> Run:
    return Run(name, name, "d", {}, "", "", "file:///s", Status.QUEUED, 1.0, 1.0, project=project)


def test_a_project_takes_what_its_runs_and_uploads_do(database: Database) -> None:
    assert database.stored("default") == 0
    for run in (a_run("a"), a_run("b"), a_run("c", "theirs")):
        database.submit(run)
        database.measured(run.id, 5 << 40, 9.0)
    database.begin_file(File("default", "a" * 64, 7, "me", 1.0, 1.0), quota=100)
    assert database.stored("default") == (10 << 40) + 7
    assert database.stored("theirs") == 5 << 40


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
