"""A run that had ended and is moved on is due at once, whatever becomes of who moved it."""

from __future__ import annotations

from pathlib import Path

from stored_run import store_run

from orchestrator.db import opened
from orchestrator.reasons import Reason
from orchestrator.runs import Status


def test_what_is_published_again_is_looked_at_though_its_asker_dies(tmp_path: Path) -> None:
    run = store_run(tmp_path, "triage-aaaaa", status=Status.FAILED)
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        run = database.update(run, reason=Reason.REGISTRY_REFUSED, look=None)
        assert database.due(2_000.0, 9) == []
        database.move(run, Status.PUBLISHING, None, "", 1_000.0)
        assert [owed.run for owed in database.due(2_000.0, 9)] == [run.id]
