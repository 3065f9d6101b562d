"""What is published again: due at once whatever becomes of its asker, made true where it no longer is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_run import SPEC, store_run

from orchestrator.db import opened
from orchestrator.errors import ConflictError, RegistryError
from orchestrator.host import Host, open_host
from orchestrator.reasons import Reason
from orchestrator.registries import RegistryAway
from orchestrator.runs import Status
from orchestrator.service import LOCAL, results
from orchestrator.settings import Settings

PUBLISHED = f"{SPEC}publish: [{{mlflow: {{model: triage}}}}]\n"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    store_run(tmp_path, "triage-aaaaa", text=PUBLISHED)
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)}), lambda: 2_000.0) as opened:
        yield opened


def finds(monkeypatch: pytest.MonkeyPatch, found: list[str] | Exception) -> None:
    """Have the registry found so."""

    def verify(*_: object) -> list[str]:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(results, "verify", verify)


def test_what_is_published_again_is_looked_at_though_its_asker_dies(tmp_path: Path) -> None:
    run = store_run(tmp_path, "triage-aaaaa", status=Status.FAILED)
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        run = database.update(run, reason=Reason.REGISTRY_REFUSED, look=None)
        assert database.due(2_000.0, 9) == []
        database.move(run, Status.PUBLISHING, None, "", 1_000.0)
        assert [owed.run for owed in database.due(2_000.0, 9)] == [run.id]


def test_where_all_is_true_nothing_is_published(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, [])
    assert host.service.results.publish(LOCAL, "triage").status is Status.SUCCEEDED
    assert len(host.service.database.publications("triage-aaaaa")) == 1
    assert host.service.database.changes() == []


def test_what_was_tampered_with_is_published_anew(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, ["weights has other content"])
    run = host.service.results.publish(LOCAL, "triage")
    assert run.status is Status.PUBLISHING
    assert run.message == "models:/triage/1: not what was published any more, so it is published anew"
    database = host.service.database
    assert database.publications(run.id) == []
    assert [owed.run for owed in database.due(2_000.0, 9)] == [run.id]
    assert [each.change.action for each in database.changes()] == ["run.publish"]


def test_a_run_that_is_deleted_meanwhile_is_not_published(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(*_: object) -> list[str]:
        host.service.keeping.delete(LOCAL, "triage-aaaaa")
        return ["weights has other content"]

    monkeypatch.setattr(results, "verify", verify)
    monkeypatch.setattr(results.contract, "verify_folder", lambda *_: [])
    with pytest.raises(ConflictError):
        host.service.results.publish(LOCAL, "triage")
    assert [each.change.action for each in host.service.database.changes()] == ["run.delete"]


def test_what_nobody_confirmed_is_published(host: Host) -> None:
    with host.service.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM publications")
    assert host.service.results.publish(LOCAL, "triage").status is Status.PUBLISHING


@pytest.mark.parametrize("trouble", [RegistryAway("no answer"), RegistryError("no server is configured")])
def test_a_registry_that_cannot_be_asked_changes_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, trouble: RegistryError
) -> None:
    finds(monkeypatch, trouble)
    with pytest.raises(type(trouble)):
        host.service.results.publish(LOCAL, "triage")
    assert host.service.database.run("triage-aaaaa").status is Status.SUCCEEDED


def test_an_adapter_that_is_not_whole_is_not_published_anew(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finds(monkeypatch, ["weights has other content"])
    (tmp_path / "storage/runs/triage-aaaaa/adapter/adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(ConflictError, match=r"in storage adapter_model\.safetensors has 1 bytes") as caught:
        host.service.results.publish(LOCAL, "triage")
    assert "axo clone" in str(caught.value.hint)
    assert host.service.database.run("triage-aaaaa").status is Status.SUCCEEDED
