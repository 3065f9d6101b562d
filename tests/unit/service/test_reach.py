"""A spec of somebody else has neither the service's secrets sent anywhere, nor its own addresses asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from handled import Handler, handled
from memory_world import MemoryBackend
from triage import lay_out

from orchestrator import wire
from orchestrator.access_section import AccessSection
from orchestrator.api.app import make_app
from orchestrator.backend_sections import KubernetesSection
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pack import packed
from orchestrator.errors import Fault, SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import Access, Caller
from orchestrator.service.access import open_access
from orchestrator.service.reach import check_reach
from orchestrator.settings import Settings
from orchestrator.spec.load import load_spec, parse_spec

SPEC = """\
name: triage
base_model: {base_model}
dataset:
  source: {source}
mapping: {{messages: [{{role: assistant, content: "{{{{ queue }}}}"}}]}}
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    home = tmp_path / "server"
    (home / "secrets/hub").mkdir(parents=True)
    (home / "secrets/hub/token").write_text("hf_the_service_itself")
    (tmp_path / "python").touch()
    values = {"AXO_HOME": str(home), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    with open_host(Settings.from_environment(values), backend=MemoryBackend()) as opened:
        yield opened


@contextmanager
def listening() -> Iterator[tuple[str, list[str | None]]]:
    """Somebody's web server, and the credential of each request that it got."""
    heard: list[str | None] = []

    class Refusing(Handler):
        def do_GET(self) -> None:
            heard.append(self.headers["Authorization"])
            self.send_error(404)

        do_HEAD = do_GET

    with handled(Refusing) as address:
        yield f"{address}/rows.jsonl", heard


def keyed(host: Host) -> Client:
    key = host.service.keys.create(Caller(), wire.KeyAsked(name="ann", role="submitter")).key
    access = open_access(host.service.settings, host.service.database, host.service.clock, here=True)
    return asking(host, access, key)


def asking(host: Host, who: Caller | Access, key: str | None = None) -> Client:
    return Client("http://embedded", key, transport=EmbeddedTransport(make_app(host.service, who)))


def lay_out_remote(folder: Path, source: str) -> Path:
    folder.mkdir()
    spec = lay_out(folder) / "spec.yaml"
    text = spec.read_text()
    written = next(line for line in text.splitlines() if "tickets.jsonl" in line)
    spec.write_text(text.replace(written, written.replace("tickets.jsonl", source)))
    return spec


def faults(settings: Settings, source: str, base_model: str = "org/base", *, operator: bool) -> list[Fault]:
    loaded = parse_spec(SPEC.format(base_model=base_model, source=source).encode(), Path("spec.yaml"))
    try:
        check_reach(loaded, settings, operator=operator)
    except SpecError as error:
        return list(error.faults)
    return []


def stored_in(storage: str, *secrets: str) -> Settings:
    nowhere = Path("/none")
    return Settings(nowhere, storage, None, nowhere, nowhere, access=AccessSection(secrets=[*secrets]))


@pytest.mark.parametrize("secret", ["", ", secret: hub"])
def test_a_holder_of_a_key_has_nothing_fetched_by_a_plan(host: Host, tmp_path: Path, secret: str) -> None:
    allowed = replace(host.service.settings, access=AccessSection(secrets=["hub"]))
    host.service.settings = allowed
    with listening() as (url, heard):
        spec = lay_out_remote(tmp_path / "laptop", f'{{source: "{url}"{secret}}}')
        with keyed(host) as client, packed(load_spec(spec)) as package:
            package.send(client)
            with pytest.raises(SpecError) as caught:
                client.plan(package.submission)
    (fault,) = caught.value.faults
    assert "not fetched before a run is submitted" in fault.what
    assert (fault.path, fault.line is not None) == ("dataset.source", True)
    assert heard == []


def test_the_operator_of_a_service_of_their_own_has_it_fetched(host: Host, tmp_path: Path) -> None:
    anonymous = open_access(host.service.settings, host.service.database, host.service.clock, here=True)
    with listening() as (url, heard):
        spec = lay_out_remote(tmp_path / "laptop", f'{{source: "{url}", secret: hub}}')
        with asking(host, anonymous) as client, packed(load_spec(spec)) as package:
            package.send(client)
            with pytest.raises(SpecError, match="there is no such object"):
                client.plan(package.submission)
    assert set(heard) == {"Bearer hf_the_service_itself"}


@pytest.mark.parametrize("verb", ["plan", "submit"])
def test_a_secret_is_refused_that_the_operator_does_not_offer(host: Host, tmp_path: Path, verb: str) -> None:
    spec = lay_out_remote(tmp_path / "laptop", '{source: "https://rows.example/a.jsonl", secret: hub}')
    with keyed(host) as client, packed(load_spec(spec)) as package:
        package.send(client)
        with pytest.raises(SpecError) as caught:
            getattr(client, verb)(package.submission)
        assert list(client.runs()) == []
        (fault,) = caught.value.faults
        assert fault.what == "the secret 'hub' may not be used by runs"
        assert "`access: {secrets: [hub]}`" in str(fault.fix)
        assert fault.line == next(
            number for number, line in enumerate(spec.read_text().splitlines(), 1) if "secret: hub" in line
        )
        host.service.settings = replace(host.service.settings, access=AccessSection(secrets=["hub"]))
        assert client.submit(package.submission).name == "triage"


def test_a_cluster_offers_its_own_secrets_to_everybody() -> None:
    section = KubernetesSection(namespace="t", service_image="a", trainer_image="b", secrets=("hub",))
    cluster = replace(stored_in("s3://axo"), backend="kubernetes", kubernetes=section)
    entry = "{source: s3://lake/a.jsonl, secret: lake}"
    for operator in (False, True):
        found = faults(cluster, entry, "{source: org/base, secret: hub}", operator=operator)
        assert [(fault.path, fault.line) for fault in found] == [("dataset.source.secret", 4)]
        assert "`kubernetes: {secrets: [lake]}`" in str(found[0].fix)
    (found,) = faults(cluster, "hf://org/rows", "{source: org/base, secret: bass}", operator=False)
    assert (found.path, found.line) == ("base_model.secret", 2)


@pytest.mark.parametrize(
    "source",
    [
        "s3://axo-ann/datasets/*/rows.parquet",
        "s3a://axo-ann/x.jsonl",
        "s3:////axo-bob/x.jsonl",
        "s3://s3a://axo-bob/x.jsonl",
        "s3://axo-*/x.jsonl",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/axo/x.jsonl",
    ],
)
def test_no_spelling_of_the_storage_is_a_source(source: str) -> None:
    settings = stored_in("s3://opener-{project}@axo-{project}/top", "opener-bob", "hub")
    (fault,) = faults(settings, f'"{source}"', operator=False)
    assert (fault.path, fault.line) == ("dataset.source", 4)
    assert faults(settings, f'"{source}"', operator=True) == []


def test_the_secret_that_opens_storage_opens_nothing_else() -> None:
    settings = stored_in("s3://opener-{project}@axo-{project}/top", "opener-bob", "hub")
    (fault,) = faults(settings, '{source: "s3://lake/x.jsonl", secret: opener-bob}', operator=False)
    assert (fault.what, fault.line) == ("the secret 'opener-bob' opens storage, and nothing else", 4)
    assert faults(settings, '{source: "s3://axonometry/x.jsonl", secret: hub}', operator=False) == []
    assert faults(stored_in("file:///srv/axo"), "s3://axo/x.jsonl", operator=False) == []
