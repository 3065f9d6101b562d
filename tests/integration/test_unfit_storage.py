"""A service whose storage cannot be used says so before it takes a run, to strangers without saying where."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.host import open_host
from orchestrator.service import Caller
from orchestrator.settings import Settings

SPEC = """\
name: x
base_model: org/model
dataset: {source: "hf://org/rows"}
mapping: {messages: [{role: user, content: "{{ q }}"}, {role: assistant, content: "{{ a }}"}]}
"""


def asked(home: Path, storage: str) -> dict[str, httpx.Response]:
    variables = {"AXO_HOME": str(home), "AXO_STORAGE": storage, "AXO_TRAINER_PYTHON": sys.executable}
    settings = Settings.from_environment(variables)
    with open_host(settings) as host:
        transport = EmbeddedTransport(make_app(host.service, Caller()))
        with httpx.Client(base_url="http://embedded", transport=transport) as http:
            return {"ready": http.get("/readyz"), "run": http.post("/api/v1/runs", json={"spec": SPEC})}


def test_one_that_is_refused_for_good(bucket: str, tmp_path: Path) -> None:
    answers = asked(tmp_path, "s3://no-such-bucket/axo")
    assert [answer.status_code for answer in answers.values()] == [507, 507]
    assert "no-such-bucket" not in answers["ready"].text
    assert "there is no such bucket" in answers["run"].json()["error"]["message"]
    assert "retry-after" not in answers["run"].headers


def test_one_that_is_away(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answers = asked(tmp_path, f"s3://{bucket}/axo")
    assert [answer.status_code for answer in answers.values()] == [503, 503]
    assert "retry-after" in answers["run"].headers


def test_one_that_keeps_its_promises(bucket: str, tmp_path: Path) -> None:
    answers = asked(tmp_path, f"s3://{bucket}/axo")
    assert [answer.status_code for answer in answers.values()] == [200, 202]
