"""The API does what its document says, for requests that a generator of hostile ones makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server, serving
from stored_run import SPEC, store_run

from orchestrator import wire
from orchestrator.db import opened
from orchestrator.service import Caller
from orchestrator.service.keys import Keys

CASES = int(os.environ.get("AXO_PROVE", "0")) or 5  # for each operation and phase; 600 make 27,000 requests
PUBLISHED = SPEC + "publish:\n  - mlflow: {model: triage}\n"
# A text that the document allows as a spec may still be none, and a run be in no state for what is asked.
UNTOLD = "positive_data_acceptance"
AWAY = ("/api/v1/runs/{run}/verify", "/api/v1/runs/{run}/publish")  # ask a registry, which is not there
# What a request may be refused with that the document does not allow; too large a one is refused unread.
SETTINGS = """\
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 406, 413, 422, 428]

# Its credential is a launch's: to the holder of a key every method there is answered 401.
[[operations]]
include-path = "/api/v1/reports/{run}/{launch}/{attempt}"

[operations.checks.unsupported_method]
enabled = false
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for number, name in enumerate(("triage-aaaaa", "triage-bbbbb")):
        store_run(tmp_path, name, text=PUBLISHED, created=1_000.0 * (1 + number))
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of its own: the first one that a request makes would close the service to those without."""
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        asked = wire.KeyAsked(name="fuzzer", role="admin")
        return Keys(database, time.time).create(Caller(), asked).key


def test_no_request_breaks_it_or_gets_what_the_document_does_not_tell(
    server: Server, key: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    command = [
        str(Path(sys.executable).parent / "st"),
        *("--config-file", str(settings)),
        *("run", f"{server.url}/api/v1/openapi.json", "--max-examples", str(CASES)),
        *("--header", f"Authorization: Bearer {key}"),
        *(
            "--exclude-checks",
            UNTOLD,
            *(word for path in AWAY for word in ("--exclude-path", path)),
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
        ),
        *("--report", "json", "--report-json-path", str(report), "--warnings", "off"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    cases = json.loads(report.read_text())["test_cases"]
    assert cases["generated"] > max(200, 35 * CASES)
    print(f"\n{cases['generated']} requests, none of them a server error or beyond the document")
