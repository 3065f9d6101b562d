"""Launches of runs that ended long ago are let go; all others stay."""

from __future__ import annotations

from pathlib import Path

from stored_run import store_run

from orchestrator.backends.local import LocalBackend
from orchestrator.controller.sweep import KEEP_SECONDS, Sweep
from orchestrator.db import opened
from orchestrator.locks import try_lock
from orchestrator.runs import Phase, Status
from orchestrator.settings import Settings

ENDED = 50_000.0


def sweep(home: Path, now: float) -> LocalBackend:
    settings = Settings.from_environment({"AXO_HOME": str(home)})
    backend = LocalBackend(settings)
    with opened(settings.database_url) as database:
        Sweep(database, backend, lambda: now).turn()
    return backend


def held(home: Path, *names: str) -> None:
    """Launches that the local backend holds, ended unless somebody has their lock."""
    (home / "local").mkdir(exist_ok=True)
    for name in names:
        (home / "local" / f"{name}.lock").write_text("launched\n")


def test_a_day_after_its_run_ended_a_launch_is_let_go(tmp_path: Path) -> None:
    store_run(tmp_path, "done", created=ENDED)
    store_run(tmp_path, "going", status=Status.TRAINING, created=ENDED)
    held(tmp_path, "done-1", "done-2", "going-1", "stranger-1")
    backend = sweep(tmp_path, ENDED + KEEP_SECONDS / 2)
    assert backend.launches() == ["done-1", "done-2", "going-1", "stranger-1"]
    backend = sweep(tmp_path, ENDED + 2 * KEEP_SECONDS)
    assert backend.launches() == ["going-1", "stranger-1"]


def test_one_that_still_runs_is_told_to_leave_at_once(tmp_path: Path) -> None:
    store_run(tmp_path, "done", created=ENDED)
    held(tmp_path, "done-1")
    with try_lock(tmp_path / "local/done-1.lock") as lock:
        assert lock is not None
        backend = sweep(tmp_path, ENDED + 1)
        assert backend.observe("done-1").phase is Phase.RUNNING
        assert (tmp_path / "local/done-1.stop").exists()
    backend = sweep(tmp_path, ENDED + 3 * KEEP_SECONDS)
    assert backend.launches() == []
