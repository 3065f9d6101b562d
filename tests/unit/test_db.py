"""The database keeps each point once, each launch numbered, and its tables equal to the migrations."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.db import Attempt, Database, Point, Publication, Run, open_database
from orchestrator.db.tables import metadata
from orchestrator.errors import NotFoundError
from orchestrator.runs import Intent, Reason, Status


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'axo.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


def a_run(name: str = "triage", number: int = 1, created: float = 100.0) -> Run:
    return Run(
        id=f"{name}-{number}",
        name=name,
        spec_digest="d" * 64,
        spec={"name": name},
        spec_text="name: x",
        base="/data",
        storage="file:///s",
        status=Status.QUEUED,
        created=created,
        updated=created,
    )


def test_migrations_make_the_tables_the_code_has(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_run_comes_back_by_id_and_newest_by_name(database: Database) -> None:
    first, second = a_run(number=1), a_run(number=2, created=200.0)
    database.add_run(first)
    database.add_run(second)
    assert database.run("triage-1") == first
    assert database.run("triage") == second
    assert database.runs() == [second, first]
    with pytest.raises(NotFoundError, match="nothing"):
        database.run("nothing")


def test_a_move_is_an_event_and_the_same_again_is_none(database: Database) -> None:
    database.add_run(a_run())
    run = database.move(database.run("triage"), Status.WAITING, Reason.RESUMING, "killed", 110.0)
    assert database.move(run, Status.WAITING, Reason.RESUMING, "killed", 120.0) == run
    run = database.move(run, Status.FAILED, Reason.LOST, "", 130.0)
    assert database.run("triage") == run
    assert run.ended == 130.0
    assert [event.status for event in database.events(run.id)] == ["queued", "waiting", "failed"]


def test_only_an_unfinished_run_of_the_same_spec_is_gone_on_with(database: Database) -> None:
    database.add_run(a_run())
    assert database.unfinished("d" * 64, "/data") == database.run("triage")
    assert database.unfinished("e" * 64, "/data") is None
    assert database.unfinished("d" * 64, "/elsewhere") is None
    database.move(database.run("triage"), Status.SUCCEEDED, None, "", 130.0)
    assert database.unfinished("d" * 64, "/data") is None


def test_the_first_value_of_a_point_wins_and_retrained_steps_are_counted(database: Database) -> None:
    database.add_run(a_run())
    first, second = Attempt(1, 1), Attempt(2, 2)
    points = [Point("loss", step, step / 3, 100.0 + step) for step in (1, 2, 3)]
    assert database.take_in("triage-1", first, Attempt(1, 1, 90, checkpoint=2), points) == 0
    again = [Point("loss", 3, 9.0, 200.0), Point("loss", 4, 1.5, 201.0), Point("epoch", 3, 0.5, 200.0)]
    assert database.take_in("triage-1", second, Attempt(2, 2, 60), again) == 1
    assert [(p.step, p.value) for p in database.points("triage-1", "loss")] == [
        (1, 1 / 3),
        (2, 2 / 3),
        (3, 1.0),
        (4, 1.5),
    ]
    newest = database.newest_point("triage-1", "loss")
    assert newest is not None
    assert (newest.step, newest.value) == (4, 1.5)
    assert database.newest_point("triage-1", "eval_loss") is None
    assert database.run("triage").lost_steps == 1
    assert database.attempts("triage-1") == [Attempt(1, 1, 90, checkpoint=2), Attempt(2, 2, 60)]


def test_the_same_bytes_are_taken_in_once(database: Database) -> None:
    database.add_run(a_run())
    before, after = Attempt(1, 1), Attempt(1, 1, 30)
    points = [Point("loss", 1, 2.0, 100.0)]
    database.take_in("triage-1", before, after, points)
    assert database.take_in("triage-1", before, after, points) == 0
    assert database.run("triage").lost_steps == 0


def test_points_are_shipped_in_order_and_once(database: Database) -> None:
    database.add_run(a_run())
    points = [Point("loss", step, math.nan if step == 2 else 1.0, 100.0) for step in (3, 1, 2)]
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, 30), points)
    batch = database.points_to_ship("triage-1", 2)
    assert [point.step for point in batch] == [1, 2]
    assert math.isnan(batch[1].value)
    database.mark_shipped("triage-1", batch)
    assert [point.step for point in database.points_to_ship("triage-1", 9)] == [3]


def test_launches_are_numbered_from_one(database: Database) -> None:
    database.add_run(a_run())
    database.add_run(a_run("other"))
    assert [database.add_launch("triage-1", "prepare", None, 1.0) for _ in range(2)] == [1, 2]
    assert database.add_launch("other-1", "train", 4, 2.0) == 1
    (launch,) = database.launches("other-1")
    assert (launch.step, launch.micro_batch_size) == ("train", 4)


def test_publishing_again_replaces_the_confirmation(database: Database) -> None:
    database.add_run(a_run())
    for version in ("1", "2"):
        database.add_publication(
            "triage-1", Publication(0, "mlflow", f"models:/x/{version}", version, "u", "d", 5.0)
        )
    assert [p.version for p in database.publications("triage-1")] == ["2"]


def test_writers_in_several_threads_wait_for_each_other(database: Database, url: str) -> None:
    database.add_run(a_run())

    def write(attempt: int) -> None:
        other = open_database(url)
        state = Attempt(attempt, 1)
        for step in range(20):
            after = Attempt(attempt, 1, step + 1)
            other.take_in("triage-1", state, after, [Point(f"k{attempt}", step, 1.0, 1.0)])
            state = after
        other.set_intent("triage-1", Intent.RUN, 1.0)
        other.close()

    threads = [threading.Thread(target=write, args=(attempt,)) for attempt in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.points("triage-1")) == 80
