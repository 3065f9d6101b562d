"""A finished adapter over the network: whole and checked, on from where a cut left it, nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from stored_run import store_run

from orchestrator import contract
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pull import pull_run
from orchestrator.contract import ContractError
from orchestrator.controller.of_run import run_store
from orchestrator.errors import ConflictError, NotFoundError, RegistryError, UnreachableError
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import Caller
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    store_run(tmp_path / "home", "triage-aaaaa")
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path / "home")})) as opened:
        yield opened


class ShortTransport(EmbeddedTransport):
    """A way to the service on which files come in pieces of 10 bytes, each cut off after it."""

    def __init__(self, app: Any, cuts: int, *, ranges: bool = True) -> None:
        super().__init__(app)
        self.cuts, self.ranges = cuts, ranges
        self.asked: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith(WEIGHTS):
            return super().handle_request(request)
        self.asked.append(request.headers.get("range"))
        if not self.ranges:
            request.headers.pop("range", None)
        answer = super().handle_request(request)
        if self.cuts:
            self.cuts -= 1
            answer.stream = _Short(answer.stream)  # type: ignore[arg-type]
        return answer


class _Short(httpx.SyncByteStream):
    def __init__(self, whole: httpx.SyncByteStream) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        yield b"".join(self._whole)[:10]
        raise httpx.ReadError("cut")

    def close(self) -> None:
        self._whole.close()


def asking(host: Host, transport: EmbeddedTransport | None = None, caller: Caller | None = None) -> Client:
    way = transport or EmbeddedTransport(make_app(host.service, caller or Caller()))
    return Client("http://embedded", transport=way, sleep=lambda _: None)


@pytest.mark.parametrize(("cuts", "ranges"), [(0, True), (3, True), (2, False)])
def test_it_comes_whole_however_often_it_is_cut(host: Host, tmp_path: Path, cuts: int, ranges: bool) -> None:
    transport = ShortTransport(make_app(host.service, Caller()), cuts, ranges=ranges)
    told: list[int] = []
    with asking(host, transport) as client:
        pulled = pull_run(client, "triage", tmp_path / "out", told.append)
        adapter = client.adapter("triage")
    assert pulled.files == 4
    for file in adapter.files:
        data = (tmp_path / "out" / file.path).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (file.size, file.sha256)
    assert transport.asked == [None, "bytes=10-", "bytes=20-", "bytes=30-"][: cuts + 1] or not ranges
    assert sum(told) == sum(file.size for file in adapter.files)


def test_provenance_names_the_mapping_as_its_dataset_does(host: Host, tmp_path: Path) -> None:
    with asking(host) as client:
        pull_run(client, "triage", tmp_path / "out")
        spec = Spec.model_validate(client.run("triage").spec)
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told["mapping"]["digest"] == spec.mapping.digest


def test_a_service_that_stays_away_leaves_nothing(host: Host, tmp_path: Path) -> None:
    transport = ShortTransport(make_app(host.service, Caller()), 1000, ranges=False)
    with asking(host, transport) as client, pytest.raises(UnreachableError, match="did not come whole"):
        pull_run(client, "triage", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_bytes_than_the_run_made_are_refused(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "home/storage/runs/triage-aaaaa/adapter" / WEIGHTS
    data = file.read_bytes()
    file.write_bytes(b"\1" + data[1:])
    with asking(host) as client, pytest.raises(RegistryError, match="is not what the run made"):
        pull_run(client, "triage", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path",
    ["MANIFEST.json", "%2e%2e/spec.yaml", "%2Fetc%2Fpasswd", "nothing.bin", "a/%2e%2e/README.md"],
)
def test_only_the_adapters_own_files_are_there(host: Host, path: str) -> None:
    transport = EmbeddedTransport(make_app(host.service, Caller()))
    with httpx.Client(base_url="http://embedded", transport=transport) as http:
        url = httpx.URL("http://embedded").copy_with(
            raw_path=f"/api/v1/runs/triage-aaaaa/adapter/{path}".encode()
        )
        answer = http.send(http.build_request("GET", url))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_nobody_fetches_what_is_not_theirs_or_not_finished(host: Host, tmp_path: Path) -> None:
    store_run(tmp_path / "home", "other-aaaaa", status=Status.TRAINING)
    with asking(host) as client, pytest.raises(ConflictError, match="no finished adapter: it is training"):
        client.adapter("other-aaaaa")
    with asking(host, caller=Caller("theirs")) as other, pytest.raises(NotFoundError):
        other.adapter("triage-aaaaa")


def test_a_link_that_takes_a_files_place_is_not_followed(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "home/storage/runs/triage-aaaaa/adapter" / WEIGHTS
    (tmp_path / "secret").write_bytes(file.read_bytes())
    found = host.service.results.adapter_file(Caller(), "triage", WEIGHTS)
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(ContractError, match="something else than a file"):
        b"".join(found.read(0, found.size))
    for gone in (lambda: None, file.unlink):
        gone()
        with asking(host) as client, pytest.raises(ConflictError, match="is not whole"):
            pull_run(client, "triage", tmp_path / "out")


@pytest.mark.parametrize(
    ("asked", "status", "size"),
    [
        ("bytes=0-0", 206, 1),
        ("bytes=-3", 206, 3),
        ("bytes=" + "9" * 18 + "-", 416, 0),
        ("bytes=" + "9" * 5000 + "-", 200, None),
        ("bytes=0-0,2-2", 200, None),
        ("bytes=-", 200, None),
        ("lines=0-1", 200, None),
    ],
)
def test_a_range_is_answered_or_left_alone(host: Host, asked: str, status: int, size: int | None) -> None:
    transport = EmbeddedTransport(make_app(host.service, Caller()))
    with httpx.Client(base_url="http://embedded", transport=transport) as http:
        answer = http.get(f"/api/v1/runs/triage-aaaaa/adapter/{WEIGHTS}", headers={"Range": asked})
        whole = http.get(f"/api/v1/runs/triage-aaaaa/adapter/{WEIGHTS}").content
    assert answer.status_code == status
    assert len(answer.content) == (len(whole) if size is None else size)


@pytest.mark.parametrize(
    "config",
    [
        "[" * 9000,
        "[]",
        "7",
        "{",
        '{"r": "x"}',
        '{"modules_to_save": [{}]}',
        '{"rank_pattern": [1]}',
        '{"r": 1e9}',
    ],
)
def test_a_config_that_is_none_keeps_no_adapter_from_its_owner(tmp_path: Path, config: str) -> None:
    store, made = run_store(store_run(tmp_path / "home", "triage-aaaaa")), tmp_path / "made"
    made.mkdir()
    (made / "adapter_config.json").write_text(config)
    (made / WEIGHTS).write_bytes(b"0")
    contract.commit_folder(store, made, contract.ADAPTER, contract.Manifest("adapter", ()))
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path / "home")})
    with open_host(settings) as host, asking(host) as client:
        assert pull_run(client, "triage", tmp_path / "out").rank is None
    assert (tmp_path / "out" / "adapter_config.json").read_text() == config
