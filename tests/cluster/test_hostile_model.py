"""Code that came with a base model runs in the pod of training: what it reaches there, on a real cluster.

The node of scripts/cluster enforces no NetworkPolicy: where packets may go is not tried, whom the API server
answers is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_world import KubernetesLab
from waiting import wait

from orchestrator.contract import ContractError, FileStore

NOBODY = (
    "/api/v1/namespaces/{}/secrets /api/v1/namespaces/{}/pods /apis/batch/v1/namespaces/{}/jobs /api/v1/nodes"
)


@pytest.fixture
def found(lab: KubernetesLab) -> dict[str, Any]:
    """What hostile code found in the shipped Job's pod."""
    shutil.copy(
        Path(__file__).with_name("hostile_code.py"), lab.storage / "code/orchestrator/trainer/__main__.py"
    )
    for file in ("models/shared/config.json", "models/other/config.json", "runs/neighbour/secret.txt"):
        (lab.storage / file).parent.mkdir(parents=True)
        (lab.storage / file).write_text("{}")
    launch = replace(lab.request(), reads=("code", "models/shared"))
    kubeconfig = yaml.safe_load(lab.cluster.kubeconfig.read_text())
    (lab.folder(launch) / "api").write_text(kubeconfig["clusters"][0]["cluster"]["server"])
    (lab.folder(launch) / "paths").write_text(json.dumps(NOBODY.format(*[lab.namespace] * 3).split()))
    backend = lab.backend()
    backend.launch(launch)
    report = lab.folder(launch) / "found.json"
    wait(report.exists)
    return dict(json.loads(report.read_text()))


def test_it_reaches_its_own_run_and_nothing_else(lab: KubernetesLab, found: dict[str, Any]) -> None:
    assert found["user"] == 65532
    nothing = "0" * 16
    assert found["status"] == {
        "CapEff": nothing,
        "CapPrm": nothing,
        "CapBnd": nothing,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    assert found["tokens"] == found["environment"] == found["devices"] == []
    assert set(found["api"].values()) <= {401, 403}
    assert found["writes"] == []
    assert found["own"]
    assert found["read only"]
    assert found["storage"] == ["code/orchestrator", "models/shared", "runs/run-a"]
    assert not found["neighbour"]
    assert not found["climbed"]
    assert not found["raw"]
    assert found["processes"] < 5
    with pytest.raises(ContractError):  # the service is not led there either
        FileStore(lab.storage / "runs/run-a").read("climbing")
