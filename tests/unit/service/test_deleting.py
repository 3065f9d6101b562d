"""Deleting runs through the API and the command line: what goes, what stays, who is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from stored_run import SPEC, store_run

from orchestrator import contract, wire
from orchestrator.api.app import make_app
from orchestrator.backends.local import LocalBackend
from orchestrator.cli import axo
from orchestrator.cli import delete as delete_command
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.contract import FileStore
from orchestrator.controller.removals import Removals
from orchestrator.controller.sweep import Sweep
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.host import Host, open_host
from orchestrator.locks import try_lock
from orchestrator.runs import Status
from orchestrator.service import LOCAL, Caller
from orchestrator.settings import Settings

RUN, OTHER = "triage-aaaaa", "triage-bbbbb"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AXO_STORAGE", "AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI", "AXO_SETTINGS", "AXO_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXO_HOME", str(tmp_path))
    store_run(tmp_path, RUN, created=1_000.0)
    store_run(tmp_path, OTHER, created=2_000.0)
    shared = tmp_path / "storage/datasets/d/MANIFEST.json"
    shared.parent.mkdir(parents=True)
    shared.touch()
    return tmp_path


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    with open_host(Settings.from_environment(), lambda: 5_000.0) as opened:
        yield opened


def asking(host: Host, caller: Caller = LOCAL) -> Client:
    return Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, caller)))


def test_its_records_and_its_folder_go_and_all_else_stays(home: Path, host: Host) -> None:
    leftover = home / f"storage/runs/{RUN}/checkpoints/checkpoint-7/.tmp-1-2-weights"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    kept = {path for path in (home / "storage").rglob("*") if RUN not in str(path)}
    with asking(host) as client:
        gone = client.delete_run(RUN)
        assert (gone.run, gone.removed, gone.time) == (RUN, True, 5_000.0)
        assert [version.reference for version in gone.versions] == ["models:/triage/1"]
        assert set((home / "storage").rglob("*")) == kept, "and no empty folder of it"
        assert [run.id for run in client.runs()] == [OTHER]
        assert {model.run: model.run_deleted for model in client.models()} == {RUN: True, OTHER: False}
        assert client.delete_run(RUN) == gone, "said twice, answered alike"
        with pytest.raises(NotFoundError):
            client.run(RUN)
    changes = [each.change for each in host.service.database.changes(limit=10)]
    assert [(change.action, change.subject) for change in changes] == [("run.delete", RUN)]


def test_a_name_or_anothers_id_deletes_nothing(host: Host) -> None:
    with asking(host) as client, pytest.raises(NotFoundError) as caught:
        client.delete_run("triage")
    assert caught.value.hint == f"did you mean {OTHER!r}?"
    with asking(host, Caller("theirs")) as stranger, pytest.raises(NotFoundError):
        stranger.delete_run(RUN)
    with asking(host) as client:
        client.delete_run(RUN)
    with asking(host, Caller("theirs")) as stranger, pytest.raises(NotFoundError):
        stranger.delete_run(RUN)
    assert [run.id for run in host.service.database.runs()] == [OTHER]


def test_one_that_goes_on_or_that_mlflow_waits_for_is_refused_with_what_to_do(home: Path) -> None:
    going = store_run(home, "going-aaaaa", status=Status.TRAINING)
    environment = {"AXO_HOME": str(home), "AXO_MLFLOW_URI": "http://mlflow"}
    with open_host(Settings.from_environment(environment)) as host, asking(host) as client:
        with pytest.raises(ConflictError, match="has not ended") as caught:
            client.delete_run(going.id)
        assert caught.value.hint == f"`axo cancel {going.id}`, then delete it"
        database = host.service.database
        run = database.update(database.run(RUN), mlflow_run="m1")
        with pytest.raises(ConflictError, match="MLflow has yet to hear how triage-aaaaa ended"):
            client.delete_run(RUN)
        database.update(run, tracked="succeeded", mlflow_url="http://mlflow/m1")
        assert client.delete_run(RUN).mlflow == "http://mlflow/m1"


def test_what_storage_does_not_let_go_of_is_removed_by_the_controller(
    home: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("storage is away")

    folder = home / f"storage/runs/{RUN}"
    database = host.service.database
    with monkeypatch.context() as broken, asking(host) as client:
        broken.setattr(FileStore, "local", away)
        assert not client.delete_run(RUN).removed
        assert Removals(database, lambda: 5_000.0).turn() > 30
    assert folder.exists()
    assert contract.read_manifest(FileStore(home / "storage/runs" / RUN), "adapter") is not None
    assert Removals(database, lambda: 5_000.0).turn() < 5
    assert not folder.exists()
    assert database.removals() == []
    with asking(host) as client:
        assert client.delete_run(RUN).removed


def test_a_launch_that_outlives_its_deleted_run_is_stopped_and_what_it_writes_goes(home: Path) -> None:
    settings = Settings.from_environment()
    backend, late = LocalBackend(settings), home / f"storage/runs/{RUN}/attempts/3/claim.json"
    (home / "local").mkdir(exist_ok=True)
    (home / f"local/{RUN}-1.lock").write_text("launched\n")
    with open_host(settings) as host:
        database = host.service.database
        sweep = Sweep(database, backend, lambda: 5_000.0)
        host.service.keeping.delete(LOCAL, RUN)
        with try_lock(home / f"local/{RUN}-1.lock"):
            sweep.turn()
            assert (home / f"local/{RUN}-1.stop").exists()
            late.parent.mkdir(parents=True)
            late.touch()
        sweep.turn()
        Removals(database, lambda: 5_000.0).turn()
        assert backend.launches() == []
        assert not late.parents[2].exists()


def test_the_command_wants_somebody_to_ask_or_whole_ids(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*arguments: str, answer: str = "") -> tuple[str, BaseException | None]:
        done = CliRunner().invoke(axo, ["delete", *arguments], input=answer)
        return done.output, done.exception

    assert isinstance(call(RUN)[1], click.UsageError | SystemExit), "nobody is here to be asked"
    assert isinstance(call("triage", "--yes")[1], NotFoundError)
    monkeypatch.setattr(delete_command, "can_ask", lambda: True)
    output, _ = call("triage", answer="n\n")
    assert f"{OTHER}: succeeded" in output
    assert "published as models:/triage/1, which stays" in output
    output, error = call("triage", "triage", OTHER, answer="y\n")
    assert error is None, "the same run named three times is one"
    assert "Delete this run for ever?" in output
    done = CliRunner().invoke(axo, ["delete", RUN, "--yes", "-o", "json"])
    [gone] = json.loads(done.stdout)
    assert (gone["run"], gone["removed"]) == (RUN, True)
    assert list((home / "storage/runs").iterdir()) == []
    assert wire.Deleted.model_validate(gone).versions[0].version == "1"


def test_a_run_that_another_trains_on_from_stays(home: Path, host: Host) -> None:
    text = SPEC.replace("{kind: lora, r: 24}", f"{{kind: lora, continue_from: {RUN}}}")
    later = store_run(home, "later-aaaaa", text=text, status=Status.TRAINING)
    with asking(host) as client:
        with pytest.raises(ConflictError, match=f"{later.id} trains on from the adapter of {RUN}"):
            client.delete_run(RUN)
        assert client.adapter(RUN).run == RUN
