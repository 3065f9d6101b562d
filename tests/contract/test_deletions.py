"""Deleting a run: what goes with it, what stays known of it, and who is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from orchestrator.db import Attempt, Database, DeletedRun, Point, Publication, Run
from orchestrator.db import tables as t
from orchestrator.errors import ConflictError, NotFoundError, TakenError
from orchestrator.runs import Status

SPEC = {"base_model": "org/base", "adapter": {"kind": "lora", "continue_from": None}}


def a_run(number: int = 1, **changes: object) -> Run:
    run = Run(
        id=f"triage-{number}",
        name="triage",
        spec_digest="d" * 64,
        spec=SPEC,
        spec_text="name: triage\n",
        base="/data",
        storage="file:///s",
        status=Status.QUEUED,
        created=100.0 + number,
        updated=100.0 + number,
        mlflow_url="http://mlflow/1",
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def ended(database: Database, run: Run, *, key: str | None = None) -> Run:
    """A run that has something in every table."""
    database.submit(run, key=key, fingerprint="one")
    database.add_launch(run.id, "train", 4, 1.0)
    database.take_in(run.id, Attempt(1, 1), Attempt(1, 1, 30), [Point("loss", 1, 2.0, 100.0)])
    database.add_publication(run.id, Publication(0, "mlflow", "models:/t/1", "1", "u", "d", 5.0))
    return database.move(run, Status.SUCCEEDED, None, "", 130.0)


def test_everything_of_a_run_goes_and_its_versions_stay_known(database: Database) -> None:
    run, other = ended(database, a_run(1)), ended(database, a_run(2))
    gone = database.delete_run(run, 200.0)
    assert gone == DeletedRun(run.id, "default", "file:///s", "http://mlflow/1", 200.0)
    assert database.deleted_run(run.id) == gone
    assert [run.id for run in database.runs()] == [other.id]
    with database.reading() as connection:
        for table in t.metadata.sorted_tables:
            if "run" in table.c and table.name not in ("publications", "requests"):
                assert set(connection.scalars(sa.select(table.c.run))) == {other.id}, table.name
    versions = {version.run: version for version in database.published("default", 9)}
    assert {run: version.deleted for run, version in versions.items()} == {
        "triage-1": True,
        "triage-2": False,
    }
    assert {(version.name, version.base_model) for version in versions.values()} == {("triage", "org/base")}
    assert database.published("theirs", 9) == []
    with pytest.raises(NotFoundError) as caught:
        database.find_run(run.id, "default")
    assert "it was deleted" in str(caught.value.hint)
    with pytest.raises(NotFoundError) as caught:
        database.find_run(run.id, "theirs")
    assert "deleted" not in str(caught.value.hint)


def test_a_deleted_id_and_its_key_are_not_given_again(database: Database) -> None:
    database.delete_run(ended(database, a_run(), key="k"), 200.0)
    with pytest.raises(TakenError):
        database.submit(a_run())
    with pytest.raises(ConflictError, match="triage-1, which the idempotency key 'k' got, was deleted"):
        database.submit(a_run(2), key="k", fingerprint="one")
    with pytest.raises(ConflictError, match="another submission"):
        database.submit(a_run(2), key="k", fingerprint="two")
    assert database.runs() == []
    assert database.submit(a_run(2), key="another")[1]


def test_who_is_needed_is_not_deleted(database: Database) -> None:
    run = ended(database, a_run(1))
    going = a_run(2, spec={**SPEC, "adapter": {"continue_from": run.id}})
    database.submit(going)
    with pytest.raises(ConflictError, match="triage-2 trains on from the adapter of triage-1"):
        database.delete_run(run, 200.0)
    with pytest.raises(ConflictError, match="triage-2 has not ended"):
        database.delete_run(going, 200.0)
    assert database.removals() == []
    going = database.move(going, Status.CANCELLED, None, "", 140.0)
    database.delete_run(run, 200.0)
    assert [run.id for run in database.runs()] == [going.id]


def test_of_many_that_delete_a_run_one_does(database: Database) -> None:
    run = ended(database, a_run())

    def delete(_: int) -> bool:
        try:
            database.delete_run(run, 200.0)
        except NotFoundError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(delete, range(6))) == [False] * 5 + [True]
    assert [removal.folder for removal in database.removals()] == ["runs/triage-1"]


def test_a_note_is_taken_back_by_whoever_did_what_it_says(database: Database) -> None:
    gone = database.delete_run(ended(database, a_run(1)), 200.0)
    (first,) = database.removals()
    database.removed(first, 3_000.0)
    database.delete_run(ended(database, a_run(2)), 300.0)
    database.removed(first, 3_000.0)  # SQLite has given the second note the number of the first
    assert [removal.folder for removal in database.removals()] == ["runs/triage-2"]
    database.remove_again(gone, 400.0)
    assert [removal.time for removal in database.removals("runs/triage-1")] == [400.0]
