"""Code that came with a base model runs in the pod of training: what it reaches there, on a real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_world import KubernetesLab
from hostile_world import found, launch_hostile, lay_out_hostile_code
from quick_world import own_node
from reachable import policies
from road import host_of_pods
from s3_server import s3_server

from orchestrator import contract
from orchestrator.backends import ReportTo

ANSWERS = {
    "GET /axo/mine/a": 200,
    "PUT /axo/mine/b": 200,
    "GET /axo/theirs/a": 403,
    "HEAD /axo/theirs/a": 403,
    "PUT /axo/theirs/b": 403,
    "DELETE /axo/theirs/a": 403,
    "GET /axo/mine/../theirs/a": 403,
    "GET /axo?policy=": 403,
    "PUT /axo?policy=": 403,
    "DELETE /axo": 403,
    "GET /others/a": 403,
    "PUT /more": 403,
}


@pytest.fixture(params=[False, pytest.param(True, marks=own_node)], ids=["open network", "policies in force"])
def walled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the cluster enforces its NetworkPolicies."""
    with policies() if request.param else nullcontext():
        yield request.param


@pytest.fixture
def facts(lab: KubernetesLab, walled: bool) -> dict[str, Any]:
    """What hostile code found in the shipped Job's pod."""
    lay_out_hostile_code(lab)
    for file in ("models/shared/config.json", "models/other/config.json", "runs/neighbour/secret.txt"):
        (lab.storage / file).parent.mkdir(parents=True)
        (lab.storage / file).write_text("{}")
    launch = replace(
        lab.request(), reads=("code", "models/shared"), report=ReportTo("http://axo.axo.svc:8520")
    )
    launch_hostile(lab, launch, {})
    return found(lab, launch)


def test_it_reaches_its_own_run_and_nothing_else(
    lab: KubernetesLab, facts: dict[str, Any], walled: bool
) -> None:
    assert facts["user"] == 65532
    nothing = "0" * 16
    assert facts["status"] == {
        "CapEff": nothing,
        "CapPrm": nothing,
        "CapBnd": nothing,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    assert facts["devices"] == []
    (token,) = facts["tokens"]  # the one that is good for reports alone
    assert token.startswith("/report/")
    assert facts["environment"] == [contract.REPORT_TOKEN]
    for answers in (facts["api"], facts["api with its token"]):  # 0: there is nobody
        assert set(answers.values()) <= ({0} if walled else {401, 403})
    assert facts["writes"] == []
    assert facts["own"]
    assert facts["read only"]
    assert facts["storage"] == ["code/orchestrator", "models/shared", "runs/run-a"]
    assert not facts["neighbour"]
    assert not facts["climbed"]
    assert not facts["raw"]
    assert facts["processes"] < 5
    with pytest.raises(contract.ContractError):  # the service is not led there either
        contract.FileStore(lab.storage / "runs/run-a").read("climbing")


def test_the_keys_of_its_storage_open_the_prefix_of_its_project_alone(
    lab: KubernetesLab, tmp_path: Path
) -> None:
    lay_out_hostile_code(lab)
    launch = replace(lab.request(), secrets=("storage",))
    with s3_server(tmp_path, address=host_of_pods(lab.cluster.kubeconfig)) as server:
        for file in ("mine/a", "theirs/a"):
            (server.folder / "axo" / file).parent.mkdir(parents=True)
            (server.folder / "axo" / file).write_text("{}")
        server.make_bucket("others")
        keys = server.make_user("mine", "axo", "mine")
        server.make_user("theirs", "axo", "theirs")
        secret = {"metadata": {"name": "storage"}, "stringData": keys}
        lab.cluster.create("v1", "Secret", secret, lab.namespace)
        (lab.folder(launch) / "requests").write_text(json.dumps(list(ANSWERS)))
        launch_hostile(lab, launch, {}, secrets=("storage",))
        assert found(lab, launch)["bucket"] == ANSWERS
