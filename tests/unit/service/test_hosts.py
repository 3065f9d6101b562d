"""Requests that a foreign web page makes a browser send are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stored_run import store_run

from orchestrator import wire
from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.errors import SettingsError
from orchestrator.host import open_host
from orchestrator.runs import Intent, Status
from orchestrator.service import Caller
from orchestrator.service.access import open_access
from orchestrator.settings import Settings


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    store_run(tmp_path, "triage-aaaaa", status=Status.TRAINING)
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
        app = make_app(host.service, Caller(), ["axo.example.org"])
        with httpx.Client(base_url="http://localhost", transport=EmbeddedTransport(app)) as http:
            yield http


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8520", "127.0.0.1:1", "[::1]:8520", "[::1]", "AXO.example.org:443"]
)
def test_its_own_names_are_answered(http: httpx.Client, host: str) -> None:
    assert http.get("/api/v1/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8520",
        "localhost.evil.example",
        "axo.example.org.evil",
        "localhost:x",
        "::1",
        "",
    ],
)
def test_another_name_is_refused(http: httpx.Client, host: str) -> None:
    answer = http.get("/api/v1/runs", headers={"Host": host})
    assert answer.status_code == 403
    assert "does not go by the name" in wire.ProblemBody.model_validate_json(answer.content).error.message
    assert http.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9999", "http://axo.example.org"]
)
def test_a_page_of_another_site_changes_nothing(http: httpx.Client, origin: str) -> None:
    answer = http.post("/api/v1/runs/triage-aaaaa/cancel", headers={"Origin": origin})
    assert answer.status_code == 403
    assert http.get("/api/v1/runs/triage-aaaaa").json()["intent"] == Intent.RUN
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_its_own_may(http: httpx.Client) -> None:
    answer = http.post("/api/v1/runs/triage-aaaaa/cancel", headers={"Origin": "http://localhost"})
    assert (answer.status_code, answer.json()["intent"]) == (202, Intent.CANCEL)


def test_a_text_is_no_body(http: httpx.Client) -> None:
    answer = http.post(
        "/api/v1/keys", content='{"name": "x", "role": "admin"}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 422


def test_beyond_its_machine_somebody_must_be_known(tmp_path: Path) -> None:
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path)})
    with open_host(settings) as host:
        database, clock = host.service.database, host.service.clock
        with pytest.raises(SettingsError, match="let anybody run anything"):
            open_access(settings, database, clock, here=False)
        (tmp_path / "settings.yaml").write_text("access: {required: true, hosts: [axo.example.org]}\n")
        strict = Settings.from_environment({"AXO_HOME": str(tmp_path)})
        assert open_access(strict, database, clock, here=False).hosts == ["axo.example.org"]
