"""Secrets, one through each way by which a credential comes in: none of them comes to rest anywhere."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from identity_provider import RSA_KEY, identity_provider
from serving import serving
from stored_run import SPEC

from orchestrator.access.keys import make_key
from orchestrator.client import Client
from orchestrator.errors import SpecError
from orchestrator.wire import Submission

CLOSED = "127.0.0.1:9"  # nothing listens there
REMOTE = SPEC.replace("source: tickets.jsonl", "source: hf://org/tickets@0123abc").replace(
    "base_model: org/base@0123abc", "base_model: {source: org/base@0123abc, secret: hub}"
)


def canary(number: int) -> str:
    """A word that nothing else would ever say."""
    return f"canary{number:02}" + "q7Zx" * 6


def in_specs() -> Mapping[str, tuple[str, str]]:
    """Specs that hold something secret-shaped: the canary, and the text; put together here, so that nobody's
    scanner takes this file for a leak."""
    hub, key = "hf_" + canary(1), make_key().text
    aws, address = "AKIA" + "CANARY02ABCDEFGH", f"https://me:{canary(3)}@data.example/x.csv"
    github, openai, slack = "ghp_" + canary(4), "sk-proj-" + canary(5), "xoxb-" + canary(6)
    token = ".".join(["eyJ" + canary(7), "eyJ" + canary(7), canary(7)])
    return {
        "name of the model": (hub, REMOTE.replace("org/base@0123abc", f"org/base@{hub}")),
        "mapping": (key, REMOTE.replace("{{ text }}", f"{{{{ text }}}} {key}")),
        "description": (aws, REMOTE + f"description: made with {aws}\n"),
        "source": (canary(3), REMOTE.replace("hf://org/tickets@0123abc", address)),
        "experiment": (github, REMOTE + f"tracking: {{experiment: {github}}}\n"),
        "axolotl's key": (openai, REMOTE + f"axolotl: {{neftune_noise_alpha: {openai}}}\n"),
        "unknown key": (slack, REMOTE + f"hub_token: {slack}\n"),
        "comment": (token, REMOTE + f"# {token}\n"),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "secrets/hub").mkdir(parents=True)
    (home / "secrets/hub/token").write_text("hf_" + canary(10))
    (home / "secrets/hub/AWS_SECRET_ACCESS_KEY").write_text(canary(11))
    return home


@pytest.fixture(scope="module")
def key(home: Path) -> str:
    return axo(home, "admin", "keys", "create", "canary", "--role", "admin").stdout.strip()


def axo(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        env={**os.environ, "AXO_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def requests_with_canaries(url: str, issuer: str) -> Iterator[tuple[str, httpx.Response]]:
    """Credentials that are none, in each place where somebody may put one."""
    made_up = make_key().text
    jwt = {"Authorization": f"Bearer eyJhbGciOiJub25lIn0.{canary(12)}."}
    basic = base64.b64encode(f"me:{canary(13)}".encode()).decode()
    for secret, headers, query in (
        (made_up, {"Authorization": f"Bearer {made_up}"}, ""),
        (canary(12), jwt, ""),
        (basic, {"Authorization": f"Basic {basic}"}, ""),
        (canary(14), {"Cookie": f"session={canary(14)}"}, ""),
        (canary(15), {"X-Api-Key": canary(15)}, ""),
        (canary(16), {}, f"?access_token={canary(16)}"),
        (canary(17), {"Authorization": f"Bearer {canary(17)}", "Axo-Project": "theirs"}, ""),
    ):
        yield secret, httpx.get(f"{url}/api/v1/runs{query}", headers=headers)
    launch = {"Authorization": f"Bearer {canary(20)}"}
    yield canary(20), httpx.put(f"{url}/api/v1/reports/triage-aaaaa/1/1?offset=0", headers=launch)


def everything(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """What lies in a home (database, storage, logs, plans) and with MLflow; but the secrets themselves."""
    for file in (file for folder in folders for file in folder.rglob("*")):
        if file.is_file() and folders[0] / "secrets" not in file.parents:
            yield file, file.read_bytes()


def test_no_secret_comes_to_rest(home: Path, key: str, mlflow_url: str, mlflow_folder: Path) -> None:
    secrets = {key, "hf_" + canary(10), canary(11), canary(18), canary(19)}
    mlflow = mlflow_url.replace("://", f"://axo:{canary(18)}@")
    variables = {"AXO_MLFLOW_URI": mlflow, "HF_ENDPOINT": f"http://{CLOSED}"}
    with identity_provider() as provider:
        (home / "settings.yaml").write_text(
            f"access:\n  oidc: {{issuer: '{provider.issuer}', audience: axo, "
            "grants: [{group: ml, project: default, role: viewer}]}\n"
            "  secrets: [hub]\n"
        )
        token = provider.token(RSA_KEY, exp=time.time() + 600, iat=time.time())
        with serving(home, **variables) as server, Client(server.url, key) as client:
            told: list[str] = []
            for secret, answer in requests_with_canaries(server.url, provider.issuer):
                assert answer.status_code == 401
                secrets.add(secret)
                told.append(answer.text)
            with Client(server.url, token) as holder:
                assert list(holder.runs()) == []
            secrets.add(token)
            for place, (secret, text) in in_specs().items():
                with pytest.raises(SpecError, match="looks like") as caught:
                    client.submit(Submission(spec=text))
                assert all(fault.line for fault in caught.value.faults), place
                secrets.add(secret)
                told.append(str(caught.value))
            run = client.submit(Submission(spec=REMOTE))
            told += answers(client, run.id)
            assert mlflow_url in told[-1]
        places = dict(everything(home, mlflow_folder)) | {Path("answers"): "\n".join(told).encode()}
        assert {home / "axo.db", mlflow_folder / "mlflow.db", Path("answers")} <= {
            place for place in places if run.id.encode() in places[place]
        }
        assert_none_of(secrets, places)
    refused = axo(home, "get", AXO_DATABASE=f"postgresql://axo:{canary(19)}@{CLOSED}/axo")
    assert refused.returncode == 4
    assert_none_of(secrets, {Path("stderr"): (refused.stdout + refused.stderr).encode()})
    assert len(secrets) == 22


def answers(client: Client, run: str) -> list[str]:
    """Everything that is told of a run whose preparing has gone wrong for want of a hub, and that MLflow
    knows."""
    deadline = time.monotonic() + 120
    while not (client.run(run).reason and client.run(run).mlflow):
        assert time.monotonic() < deadline, client.run(run)
        time.sleep(0.2)
    return [
        client.run(run).model_dump_json(),
        *(event.model_dump_json() for event in client.events(run)),
        *(attempt.model_dump_json() for attempt in client.attempts(run)),
        *(part.text for part in client.logs(run)),
        str(client.metrics(run)),
        client.run(run).model_dump_json(),
    ]


def assert_none_of(secrets: set[str], places: Mapping[Path, bytes]) -> None:
    found = [
        (secret[:12], place)
        for secret in secrets
        for place, data in places.items()
        if secret.encode() in data
    ]
    assert found == []
