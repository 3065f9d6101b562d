"""Pins and temporary runs as their users see them: through the API and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stored_run import SPEC, store_run

from orchestrator import contract
from orchestrator.cli import axo
from orchestrator.controller.removals import Removals
from orchestrator.controller.retention import DAY_SECONDS, Retaining
from orchestrator.errors import ConflictError
from orchestrator.host import Host, open_host
from orchestrator.settings import Settings
from orchestrator.spec.load import parse_spec

RUN = "triage-aaaaa"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AXO_STORAGE", "AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI", "AXO_SETTINGS", "AXO_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXO_HOME", str(tmp_path))
    (tmp_path / "settings.yaml").write_text("retention: {temporary_days: 5, warning_days: 1}\n")
    return tmp_path


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    with open_host(Settings.from_environment()) as opened:
        yield opened


def call(*arguments: str) -> Result:
    return CliRunner().invoke(axo, arguments)


def test_a_temporary_run_from_its_spec_to_its_end(home: Path, host: Host) -> None:
    run = store_run(home, RUN, text=f"{SPEC}temporary: true\n")
    assert run.temporary
    assert run.ended is not None
    database, settings = host.service.database, host.service.settings
    store = contract.open_store(run.storage).below(contract.run_key(run.id))
    for days in (4.5, 5.6):
        Retaining(settings, database, lambda days=days: run.ended + days * DAY_SECONDS).turn()  # type: ignore[misc]
        Removals(database, lambda: 5_000.0).turn()
        shown = call("describe", RUN).stdout
        assert "kept:        until 1970-01-06" in shown
        assert ("keeps its files" in " ".join(shown.split())) == (days == 4.5), shown
    assert "adapter and checkpoints are gone" in " ".join(shown.split())
    assert "axo pull" not in shown
    assert store.keys("adapter") == []
    assert store.keys("attempts"), "what it said stays"
    error = call("pull", RUN).exception
    assert isinstance(error, ConflictError)
    assert "was temporary" in str(error)
    assert call("models", "-o", "name").stdout == "models:/triage/1\n"
    assert isinstance(call("models", "pin", RUN).exception, ConflictError)


def test_a_pin_is_set_shown_and_taken_back(home: Path, host: Host) -> None:
    store_run(home, RUN)
    assert "cannot be deleted" in call("models", "pin", "triage").stderr
    assert call("models", "pin", "triage").exit_code == 0, "twice is fine"
    assert "kept:        pinned" in call("get", RUN).stdout
    refused = call("delete", RUN, "--yes").exception
    assert isinstance(refused, ConflictError)
    assert refused.hint == f"`axo models unpin {RUN}`, then delete it"
    assert call("models", "unpin", RUN).exit_code == 0
    actions = [each.change.action for each in host.service.database.changes(limit=9)]
    assert sorted(actions) == ["run.pin", "run.unpin"]
    assert [event.message for event in host.service.database.events(RUN)][-2:] == [
        "pinned by local",
        "unpinned by local",
    ]
    assert call("delete", RUN, "--yes").exit_code == 0


def test_a_run_is_temporary_only_where_its_spec_says_so(home: Path) -> None:
    assert not parse_spec(SPEC.encode(), home / "spec.yaml").spec.temporary
    assert call("models", "--help").stdout.count("unpin") == 1
