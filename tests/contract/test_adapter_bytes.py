"""A finished adapter comes out of every store alike: whole, and by ranges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stored_run import store_run

from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pull import pull_run
from orchestrator.contract import ADAPTER, Store, hash_file, read_manifest
from orchestrator.host import open_host
from orchestrator.service import Caller
from orchestrator.settings import Settings

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def transport(store: Store, tmp_path: Path) -> Iterator[EmbeddedTransport]:
    store_run(tmp_path / "home", "triage-aaaaa", storage=store.url)
    settings = {"AXO_HOME": str(tmp_path / "home"), "AXO_STORAGE": store.url}
    with open_host(Settings.from_environment(settings)) as host:
        yield EmbeddedTransport(make_app(host.service, Caller()))


def test_it_is_pulled_whole(transport: EmbeddedTransport, store: Store, tmp_path: Path) -> None:
    with Client("http://embedded", transport=transport) as client:
        pull_run(client, "triage", tmp_path / "out")
    manifest = read_manifest(store, f"runs/triage-aaaaa/{ADAPTER}")
    assert manifest
    for file in manifest.files:
        assert hash_file(tmp_path / "out" / file.path, file.path) == file


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ({}, 200, slice(None)),
        ({"Range": "bytes=10-"}, 206, slice(10, None)),
        ({"Range": "bytes=5-9"}, 206, slice(5, 10)),
        ({"Range": "bytes=-4"}, 206, slice(-4, None)),
        ({"Range": "bytes=10-", "If-Range": '"another"'}, 200, slice(None)),
        ({"Range": "bytes=100000-"}, 416, None),
    ],
    ids=["all", "rest", "middle", "end", "changed", "beyond"],
)
@pytest.mark.parametrize("name", [WEIGHTS, "README.md"])
def test_a_range_is_that_part_of_it(
    transport: EmbeddedTransport, name: str, asked: dict[str, str], status: int, span: slice | None
) -> None:
    with httpx.Client(base_url="http://embedded", transport=transport) as http:
        place = f"/api/v1/runs/triage-aaaaa/adapter/{name}"
        whole, answer = http.get(place), http.get(place, headers=asked)
    assert answer.status_code == status
    if span is not None:
        assert answer.content == whole.content[span]
        assert answer.headers["etag"] == whole.headers["etag"]
