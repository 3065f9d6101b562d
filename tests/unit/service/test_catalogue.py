"""What there is: machines and registries of the operator, datasets and models of the caller's project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored_run import DATASET, FACTS, store_run

from orchestrator import wire
from orchestrator.api.app import make_app
from orchestrator.cli import axo
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import Caller
from orchestrator.settings import Settings

MACHINES = """\
machines:
  a100-4: {device: gpu, devices: 4, gpu: A100, price_per_hour: 12.8, node_selector: {a: b}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "settings.yaml").write_text(MACHINES)
    other = {**FACTS, "dataset": "e" * 64}
    store_run(tmp_path, "triage-aaaaa", created=1_000.0)
    store_run(tmp_path, "triage-bbbbb", created=2_000.0, facts=other)
    store_run(tmp_path, "triage-ccccc", created=3_000.0, status=Status.FAILED)
    store_run(tmp_path, "fresh-aaaaa", created=4_000.0, status=Status.TRAINING, facts={})
    store_run(tmp_path, "foreign-aaaaa", created=5_000.0, project="theirs")
    return tmp_path


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    values = {"AXO_HOME": str(home), "AXO_MLFLOW_URI": "http://user:password@mlflow:5000"}
    with open_host(Settings.from_environment(values)) as opened:
        yield opened


def asking(host: Host, caller: Caller) -> Client:
    return Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, caller)))


def test_the_operators_part(host: Host) -> None:
    with asking(host, Caller()) as client:
        machines = {machine.name: machine for machine in client.machines()}
        assert list(machines) == ["cpu", "gpu", "a100-4"]
        assert (machines["a100-4"].devices, machines["a100-4"].price_per_hour) == (4, 12.8)
        [registry] = client.registries()
        assert (registry.kind, registry.url) == ("mlflow", "http://mlflow:5000")


def test_datasets_by_the_runs_that_used_them(host: Host) -> None:
    with asking(host, Caller()) as client:
        assert [(each.digest, each.runs) for each in client.datasets()] == [
            (DATASET, ["triage-ccccc", "triage-aaaaa"]),
            ("e" * 64, ["triage-bbbbb"]),
        ]
        assert client.datasets(limit=1)[0].tokens == 5000


def test_a_dataset_is_looked_at_and_deleted_once_no_run_needs_it(host: Host) -> None:
    database = host.service.database
    with asking(host, Caller(name="ann")) as client:
        assert client.dataset(DATASET) == client.datasets()[0]
        with pytest.raises(NotFoundError):
            client.dataset("f" * 64)
        going = database.run("fresh-aaaaa")
        assert database.take_dataset(going, FACTS, 1)
        with pytest.raises(ConflictError, match="fresh-aaaaa uses it") as caught:
            client.delete_dataset(DATASET)
        assert caught.value.hint == "wait until it has ended, or `axo cancel fresh-aaaaa`"
        database.move(database.run("fresh-aaaaa"), Status.CANCELLED, None, "", 9_000.0)
        client.delete_dataset(DATASET)
        assert [each.digest for each in client.datasets()] == ["e" * 64]
        with pytest.raises(NotFoundError):
            client.delete_dataset(DATASET)
    with asking(host, Caller("theirs")) as other:
        assert other.dataset(DATASET).runs == ["foreign-aaaaa"]
    [change] = [each.change for each in database.changes(limit=9)]
    assert (change.actor, change.action, change.subject) == ("ann", "dataset.delete", DATASET)


def test_the_command_shows_and_deletes_datasets_and_uploads(home: Path) -> None:
    def call(*arguments: str) -> str:
        environment = {"AXO_HOME": str(home), "AXO_URL": "", "COLUMNS": "80"}
        done = CliRunner().invoke(axo, ["datasets", *arguments], env=environment)
        assert done.exit_code == 0, done.exception
        return done.output

    with open_host(Settings.from_environment({"AXO_HOME": str(home)})) as host:
        host.service.files.begin(Caller(), wire.FileAsked(sha256="a" * 64, size=5_000_000))
    shown = call("show", DATASET[:8])
    assert "100, 25 held out" in shown
    assert "triage-ccccc triage-aaaaa" in shown
    told = call("delete", "--yes", DATASET[:8], "a" * 64)
    assert f"dataset {DATASET[:12]}: " in told
    assert f"upload {'a' * 12}: 4.8 MiB" in told
    assert call("-o", "name").splitlines() == ["e" * 64]
    assert "nothing is uploaded" in call("uploads")


def test_models_by_their_versions(host: Host) -> None:
    with asking(host, Caller()) as client:
        models = client.models()
        assert {model.run for model in models} == {"triage-aaaaa", "triage-bbbbb"}
        assert {model.base_model for model in models} == {"org/base@0123abc"}
    with asking(host, Caller("theirs")) as other:
        assert [model.run for model in other.models()] == ["foreign-aaaaa"]
        assert [each.runs for each in other.datasets()] == [["foreign-aaaaa"]]


def test_the_commands_that_list(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXO_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AXO_URL", raising=False)
    for command, told in (
        ("models", "triage-aaaaa"),
        ("datasets", DATASET[:12]),
        ("top", "1 training"),
        ("machines", "a100-4"),
    ):
        done = CliRunner().invoke(axo, [command])
        assert done.exit_code == 0, done.exception
        assert told in done.stdout
        assert max(map(len, done.stdout.splitlines())) < 80
