"""A service that wants keys: made on its machine, sent by the client, over by the next request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serving import serving

from orchestrator import wire
from orchestrator.client import Client
from orchestrator.errors import AuthError, ForbiddenError


def axo(home: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    done = subprocess.run(command, env={**os.environ, "AXO_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_a_key_opens_the_service_until_it_is_revoked(tmp_path: Path) -> None:
    admin = axo(tmp_path, "admin", "keys", "create", "ops", "--role", "admin").stdout.strip()
    with serving(tmp_path) as server, Client(server.url, admin) as ops:
        refused = httpx.get(f"{server.url}/api/v1/runs")
        problem = wire.ProblemBody.model_validate_json(refused.content).error
        assert (refused.status_code, problem.code) == (401, "auth")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert httpx.get(f"{server.url}/healthz").status_code == 200

        viewer = ops.create_key("looker", "viewer")
        with Client(server.url, viewer.key) as looker:
            assert list(looker.runs()) == []
            with pytest.raises(ForbiddenError, match="needs the role admin"):
                looker.keys()
            axo(tmp_path, "admin", "keys", "revoke", viewer.id)
            with pytest.raises(AuthError):
                list(looker.runs())
        listed = ops.keys()
        assert [(key.name, key.revoked is None) for key in listed] == [("looker", False), ("ops", True)]
    assert admin not in axo(tmp_path, "admin", "keys", "list", "-o", "json").stdout


def test_beyond_this_machine_a_key_is_needed_before_it_listens(tmp_path: Path) -> None:
    refused = axo(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0", code=3)
    assert "axo admin keys create" in refused.stderr
