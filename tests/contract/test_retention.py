"""Temporary runs: warned of first, rid of their files then, and never a pinned one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.controller.retention import DAY_SECONDS, Retaining
from orchestrator.db import Database, Run
from orchestrator.db import retention as rows
from orchestrator.errors import ConflictError
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.settings import Settings

ENDED = 1_000_000.0
SETTINGS = Settings(Path("/home"), "file:///s", None, Path("/python"), Path("/secrets"))


def ended(database: Database, name: str, **changes: object) -> Run:
    run = Run(
        id=f"{name}-aaaaa",
        name=name,
        spec_digest="d" * 64,
        spec={"base_model": "b", "adapter": {"continue_from": None}},
        spec_text="",
        base="",
        storage="file:///s",
        status=Status.QUEUED,
        created=1.0,
        updated=1.0,
        temporary=True,
    )
    run = replace(run, **changes)  # type: ignore[arg-type]
    database.submit(run)
    return database.move(run, Status.SUCCEEDED, None, "", ENDED)


def look(database: Database, days: float) -> None:
    """A look so many days after the end."""
    Retaining(SETTINGS, database, lambda: ENDED + days * DAY_SECONDS).turn()


def reasons(database: Database, run: Run) -> list[str]:
    return [event.reason for event in database.events(run.id) if event.reason]


def test_files_go_after_a_warning_and_two_days_and_the_record_stays(database: Database) -> None:
    run, lasting = ended(database, "short"), ended(database, "lasting", temporary=False)
    look(database, 12.9)
    assert database.run(run.id).expires is None
    look(database, 13.1)
    look(database, 13.2)
    assert database.run(run.id).expires == ENDED + 15.1 * DAY_SECONDS, "two whole days from the warning on"
    assert reasons(database, run) == [Reason.EXPIRES]
    assert "axo models pin short-aaaaa" in database.events(run.id)[-1].message
    look(database, 15.05)
    assert database.removals() == []
    look(database, 15.2)
    look(database, 15.3)
    assert {each.folder for each in database.removals()} == {
        "runs/short-aaaaa/adapter",
        "runs/short-aaaaa/checkpoints",
    }
    found = database.run(run.id)
    assert (found.status, found.expired) == (Status.SUCCEEDED, ENDED + 15.2 * DAY_SECONDS)
    assert reasons(database, run) == [Reason.EXPIRES, Reason.EXPIRED]
    assert database.run(lasting.id).expires is None


def test_nobody_looked_for_a_month_and_the_warning_still_comes_first(database: Database) -> None:
    run = ended(database, "late")
    look(database, 45)
    look(database, 46)
    assert (database.run(run.id).expired, database.removals()) == (None, [])
    look(database, 47.1)
    assert database.run(run.id).expired is not None


def test_a_pin_keeps_and_a_warning_is_given_anew_after_it(database: Database) -> None:
    run = ended(database, "pinned")
    look(database, 14)
    database.pin(run, "pinned by ann", ENDED + 14 * DAY_SECONDS, pinned=True)
    look(database, 99)
    assert (database.run(run.id).expired, database.removals()) == (None, [])
    with pytest.raises(ConflictError, match="pinned"):
        database.delete_run(database.run(run.id), ENDED)
    database.pin(run, "unpinned by ann", ENDED + 99 * DAY_SECONDS, pinned=False)
    look(database, 99)
    assert database.removals() == []
    look(database, 101.1)
    assert len(database.removals()) == 2
    with pytest.raises(ConflictError, match="were removed"):
        database.pin(run, "", ENDED, pinned=True)


def test_a_pin_that_comes_between_looking_and_writing_is_kept_to(database: Database) -> None:
    run = ended(database, "raced")
    look(database, 14)
    seen = database.run(run.id)
    database.pin(seen, "", ENDED, pinned=True)
    assert not database.expire(seen, "", ENDED)
    database.pin(seen, "", ENDED, pinned=False)
    assert not database.expire(seen, "", ENDED), "it was warned of before, and not since"
    assert database.removals() == []


def test_files_that_a_run_trains_on_from_wait_for_its_end(database: Database) -> None:
    run = ended(database, "first")
    going = replace(run, id="second-aaaaa", temporary=False, status=Status.QUEUED)
    database.submit(replace(going, spec={**run.spec, "adapter": {"continue_from": run.id}}))
    look(database, 14)
    look(database, 30)
    assert (database.run(run.id).expired, database.removals()) == (None, [])
    database.move(going, Status.FAILED, Reason.LOST, "", ENDED)
    look(database, 31)
    assert len(database.removals()) == 2


def test_a_run_whose_expiry_is_cut_off_has_lost_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(database, "cut")
    look(database, 14)
    noted: list[object] = []

    def die(*what: object) -> None:
        noted.append(what)
        if len(noted) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(rows, "note_removal", die)
        with pytest.raises(KeyboardInterrupt):
            look(database, 20)
    assert (database.run(run.id).expired, database.removals()) == (None, [])
    assert reasons(database, run) == [Reason.EXPIRES]
    look(database, 20)
    assert len(database.removals()) == 2
